//! Quantities with their units in the type, so that no raw integer crosses a layer.

mod device_id;
mod quantity;
mod size;

pub use device_id::{DeviceId, DeviceIdOutOfRange, TransactionId};
pub use quantity::{BlockSize, BlockSizeError, Bytes, DataBlocks, MetaBlocks, SECTOR_SIZE, Sectors};
pub use size::SizeError;
