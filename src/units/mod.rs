//! Quantities with their units in the type, so that no raw integer crosses a layer.

mod device_id;
mod docker_size;
mod growth;
mod percent;
mod pool_name;
mod quantity;
mod rate;
mod size;

pub use device_id::{DeviceId, DeviceIdOutOfRange, TransactionId};
pub use docker_size::DockerSize;
pub use growth::{Growth, GrowthError};
pub use percent::{Percent, PercentError};
pub use pool_name::{PoolName, PoolNameError};
pub use quantity::{BlockSize, BlockSizeError, Bytes, DataBlocks, MetaBlocks, SECTOR_SIZE, Sectors};
pub use rate::{Rate, span};
pub use size::SizeError;
