//! Images and their layers.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{Catalog, CatalogError, Device, DeviceState, Durability, devices};
use crate::units::{Bytes, DeviceId};

/// A finished layer: a device whose content is known by what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The chain id: the layer's content and that of all layers below it.
    pub chain: String,
    /// The diff id: the digest of the layer's own archive.
    pub diff: String,
    /// The chain id of the layer below.
    pub parent: Option<String>,
    /// How much its own archive unpacked to.
    pub content: Bytes,
    /// Its device.
    pub device: DeviceId,
}

/// An image: a name for a layer, with what its maker says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// The device of its top layer.
    pub device: Device,
    /// The chain id of its top layer.
    pub chain: String,
    /// The chain id of the layer below that, if there is one.
    pub parent: Option<String>,
    /// How many layers it has.
    pub layers: u64,
    /// How much all its layers unpacked to, those included that it shares.
    pub content: Bytes,
    /// The OCI image configuration it came with, as it came.
    pub config: Option<String>,
    /// When it was imported, in seconds since 1970.
    pub created: i64,
}

/// The layers that no image, no newer layer and no container needs.
const UNNEEDED_LAYERS: &str = "SELECT device FROM layer
    WHERE device NOT IN (SELECT device FROM image)
      AND device NOT IN (SELECT origin FROM device WHERE origin NOT NULL AND state != 'deleted')";

impl Catalog {
    /// A layer by its chain id.
    pub fn layer(&self, chain: &str) -> Result<Option<Layer>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM layer WHERE chain = ?1";
            connection.query_row(query, [chain], layer_from_row).optional()
        })
    }

    /// Makes a draft a finished layer. `false` if there is one with this chain id already; then nothing changes.
    pub fn finish_layer(&mut self, layer: &Layer) -> Result<bool, CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let added = transaction.execute(
                "INSERT INTO layer (chain, diff, parent, content, device)
                 VALUES (:chain, :diff, :parent, :content, :device) ON CONFLICT (chain) DO NOTHING",
                named_params! {
                    ":chain": layer.chain, ":diff": layer.diff, ":parent": layer.parent,
                    ":content": layer.content, ":device": layer.device,
                },
            )?;
            if added == 1 {
                devices::set_state(transaction, layer.device, DeviceState::Ready)?;
            }
            Ok(added == 1)
        })
    }

    /// Gives a layer a name. `false` if another image has the name, or the layer is not there (any more); then
    /// nothing changes.
    pub fn add_image(
        &mut self,
        name: &str,
        chain: &str,
        config: Option<&str>,
        created: i64,
    ) -> Result<bool, CatalogError> {
        self.change(Durability::Synced, |transaction| {
            // One step with the look at the layer: it can't be marked for deletion in between.
            let added = transaction.execute(
                "INSERT INTO image (name, device, chain, config, created)
                 SELECT :name, device.id, layer.chain, :config, :created
                 FROM layer JOIN device ON device.id = layer.device
                 WHERE layer.chain = :chain AND device.state = 'ready'
                 ON CONFLICT (name) DO NOTHING",
                named_params! { ":name": name, ":chain": chain, ":config": config, ":created": created },
            )?;
            Ok(added == 1)
        })
    }

    /// An image by its name.
    pub fn image(&self, name: &str) -> Result<Option<Image>, CatalogError> {
        Ok(self.images_where("name = ?1", name)?.pop())
    }

    /// All images, by name.
    pub fn images(&self) -> Result<Vec<Image>, CatalogError> {
        self.images_where("?1 = ''", "")
    }

    fn images_where(&self, condition: &str, value: &str) -> Result<Vec<Image>, CatalogError> {
        self.read(|connection| {
            let mut query =
                connection.prepare(&format!("SELECT * FROM image WHERE {condition} ORDER BY name"))?;
            let images = query.query_map([value], |row| image_from_row(connection, row))?;
            images.collect()
        })
    }

    /// Takes an image's name away, unless containers were made of it: then nothing changes, and they are given back.
    /// Its layers stay until [`Catalog::forget_unneeded_layers`].
    pub fn remove_image(&mut self, name: &str) -> Result<Vec<String>, CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let containers = containers_of(transaction, name)?;
            if containers.is_empty() {
                transaction.execute("DELETE FROM image WHERE name = ?1", [name])?;
            }
            Ok(containers)
        })
    }

    /// Marks for deletion every layer that no image holds: what imports left that never came to their end.
    pub fn forget_unneeded_layers(&mut self) -> Result<(), CatalogError> {
        // Looking first keeps the usual case, in which there is none, from writing at all.
        let query = format!("SELECT EXISTS ({UNNEEDED_LAYERS})");
        if !self.read(|connection| connection.query_row(&query, [], |row| row.get(0)))? {
            return Ok(());
        }
        self.change(Durability::Synced, |transaction| {
            // An upper layer needs the one below it, so they go one after the other.
            while forget_unneeded(transaction)? > 0 {}
            Ok(())
        })
    }

    /// The containers made of an image, by name: what stands in the way of its removal.
    pub fn containers_of(&self, image: &str) -> Result<Vec<String>, CatalogError> {
        self.read(|connection| containers_of(connection, image))
    }
}

/// The containers made of an image, those included that are just being made.
fn containers_of(connection: &Connection, image: &str) -> Result<Vec<String>, rusqlite::Error> {
    let mut query = connection.prepare("SELECT name FROM container WHERE image = ?1 ORDER BY name")?;
    query.query_map([image], |row| row.get(0))?.collect()
}

/// Marks the layers for deletion that no image, no newer layer and no container needs, and counts them.
fn forget_unneeded(transaction: &rusqlite::Transaction<'_>) -> Result<usize, rusqlite::Error> {
    let marked = transaction
        .execute(&format!("UPDATE device SET state = 'deleted' WHERE id IN ({UNNEEDED_LAYERS})"), [])?;
    transaction
        .execute("DELETE FROM layer WHERE device IN (SELECT id FROM device WHERE state = 'deleted')", [])?;
    Ok(marked)
}

fn image_from_row(connection: &Connection, row: &Row<'_>) -> Result<Image, rusqlite::Error> {
    const ALL_LAYERS: &str = "
        WITH RECURSIVE below (chain, parent, content) AS (
            SELECT chain, parent, content FROM layer WHERE chain = ?1
            UNION ALL
            SELECT layer.chain, layer.parent, layer.content FROM layer JOIN below ON layer.chain = below.parent)
        SELECT count(*), coalesce(sum(content), 0), (SELECT parent FROM layer WHERE chain = ?1) FROM below";
    let chain: String = row.get("chain")?;
    let (layers, content, parent): (i64, _, _) =
        connection.query_row(ALL_LAYERS, [&chain], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Image {
        name: row.get("name")?,
        device: devices::get(connection, row.get("device")?)?,
        chain,
        parent,
        layers: layers.cast_unsigned(),
        content,
        config: row.get("config")?,
        created: row.get("created")?,
    })
}

/// Whether an image's own columns can be understood, whatever they refer to.
pub(super) fn readable(row: &Row<'_>) -> Result<(), rusqlite::Error> {
    row.get::<_, String>("name")?;
    row.get::<_, DeviceId>("device")?;
    row.get::<_, String>("chain")?;
    row.get::<_, Option<String>>("config")?;
    row.get::<_, i64>("created").map(drop)
}

pub(super) fn layer_from_row(row: &Row<'_>) -> Result<Layer, rusqlite::Error> {
    Ok(Layer {
        chain: row.get("chain")?,
        diff: row.get("diff")?,
        parent: row.get("parent")?,
        content: row.get("content")?,
        device: row.get("device")?,
    })
}
