//! Images and their layers.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{Catalog, CatalogError, Device, DeviceState, Durability, Prepared, devices};
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
    WHERE NOT EXISTS (SELECT 1 FROM image WHERE device = layer.device)
      AND NOT EXISTS (SELECT 1 FROM device WHERE origin = layer.device AND state != 'deleted')";

/// The names of the image that is called `?1`: those with its layers and its configuration.
const ALL_NAMES: &str = "SELECT name FROM image
    WHERE (device, coalesce(config, '')) IN (SELECT device, coalesce(config, '') FROM image WHERE name = ?1)";

/// That no container was made of an image.
const UNUSED: &str = "(device, coalesce(config, '')) NOT IN (
    SELECT image.device, coalesce(image.config, '') FROM container JOIN image ON image.name = container.image)";

impl Catalog {
    /// A layer by its chain id.
    pub fn layer(&self, chain: &str) -> Result<Option<Layer>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM layer WHERE chain = ?1";
            connection.ask(query, [chain], layer_from_row).optional()
        })
    }

    /// The layer that a device is.
    pub fn layer_on(&self, device: DeviceId) -> Result<Option<Layer>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM layer WHERE device = ?1";
            connection.ask(query, [device], layer_from_row).optional()
        })
    }

    /// A layer and all that are below it, the lowest first.
    pub fn layers_of(&self, chain: &str) -> Result<Vec<Layer>, CatalogError> {
        const DOWN: &str = "
            WITH RECURSIVE below (depth, chain, diff, parent, content, device) AS (
                SELECT 0, chain, diff, parent, content, device FROM layer WHERE chain = ?1
                UNION ALL
                SELECT depth + 1, layer.chain, layer.diff, layer.parent, layer.content, layer.device
                FROM layer JOIN below ON layer.chain = below.parent)
            SELECT * FROM below ORDER BY depth DESC";
        self.read(|connection| connection.prepare_cached(DOWN)?.query_map([chain], layer_from_row)?.collect())
    }

    /// Makes a draft a finished layer. `false` if there is one with this chain id already; then nothing changes. Its device
    /// descends from the layer below from now on, also if it was a container's snapshot: that layer is needed as long
    /// as this one is there, and the container isn't.
    pub fn finish_layer(&mut self, layer: &Layer) -> Result<bool, CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let added = transaction.tell(
                "INSERT INTO layer (chain, diff, parent, content, device)
                 VALUES (:chain, :diff, :parent, :content, :device) ON CONFLICT (chain) DO NOTHING",
                named_params! {
                    ":chain": layer.chain, ":diff": layer.diff, ":parent": layer.parent,
                    ":content": layer.content, ":device": layer.device,
                },
            )?;
            if added == 1 {
                devices::set_state(transaction, layer.device, DeviceState::Ready)?;
                transaction.tell(
                    "UPDATE device SET origin = coalesce((SELECT device FROM layer WHERE chain = ?2), origin)
                     WHERE id = ?1",
                    (layer.device, &layer.parent),
                )?;
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
            let added = transaction.tell(
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
                connection.prepare_cached(&format!("SELECT * FROM image WHERE {condition} ORDER BY name"))?;
            let images = query.query_map([value], |row| image_from_row(connection, row))?;
            images.collect()
        })
    }

    /// Gives an image another name besides the one it has. `false` if an image has that name, or there is none of the
    /// old one; then nothing changes.
    pub fn tag_image(&mut self, name: &str, new: &str) -> Result<bool, CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let added = transaction.tell(
                "INSERT INTO image (name, device, chain, config, created)
                 SELECT ?2, device, chain, config, created FROM image WHERE name = ?1
                 ON CONFLICT (name) DO NOTHING",
                [name, new],
            )?;
            Ok(added == 1)
        })
    }

    /// All names of the image that has this one, by name.
    pub fn names_of(&self, name: &str) -> Result<Vec<String>, CatalogError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(&format!("{ALL_NAMES} ORDER BY name"))?;
            query.query_map([name], |row| row.get(0))?.collect()
        })
    }

    /// Takes an image's name away. Containers that were made of it under this name are its containers under one of its
    /// other names from now on; if it has none, nothing changes, and the containers are given back. Its layers stay
    /// until [`Catalog::forget_unneeded_layers`].
    pub fn remove_image(&mut self, name: &str) -> Result<Vec<String>, CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let other = format!("{ALL_NAMES} AND name != ?1 ORDER BY name LIMIT 1");
            let other: Option<String> = transaction.ask(&other, [name], |row| row.get(0)).optional()?;
            if let Some(other) = other {
                transaction.tell("UPDATE container SET image = ?2 WHERE image = ?1", [name, &other])?;
            }
            let containers = containers_of(transaction, name)?;
            if containers.is_empty() {
                transaction.tell("DELETE FROM image WHERE name = ?1", [name])?;
            }
            Ok(containers)
        })
    }

    /// The images of which no container was made, under none of their names; and how much the layers unpacked to that
    /// would go with them.
    pub fn unused_images(&mut self) -> Result<(Vec<String>, Bytes), CatalogError> {
        let mut unused = (Vec::new(), Bytes(0));
        // What removing them would come to is found out by removing them, and not meaning it.
        self.change_if(Durability::Ordered, |transaction| {
            let content = "SELECT coalesce(sum(content), 0) FROM layer";
            let content = || transaction.ask(content, [], |row| row.get::<_, Bytes>(0));
            let before = content()?;
            let mut query = transaction
                .prepare_cached(&format!("SELECT name FROM image WHERE {UNUSED} ORDER BY name"))?;
            unused.0 = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            transaction.tell(&format!("DELETE FROM image WHERE {UNUSED}"), [])?;
            while forget_unneeded(transaction)? > 0 {}
            unused.1 = Bytes(before.0.saturating_sub(content()?.0));
            Ok(None::<()>)
        })?;
        Ok(unused)
    }

    /// Marks for deletion every layer that no image holds: what imports left that never came to their end.
    pub fn forget_unneeded_layers(&mut self) -> Result<(), CatalogError> {
        // Looking first keeps the usual case, in which there is none, from writing at all.
        let query = format!("SELECT EXISTS ({UNNEEDED_LAYERS})");
        if !self.read(|connection| connection.ask(&query, [], |row| row.get(0)))? {
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
    let mut query = connection.prepare_cached("SELECT name FROM container WHERE image = ?1 ORDER BY name")?;
    query.query_map([image], |row| row.get(0))?.collect()
}

/// Marks the layers for deletion that no image, no newer layer and no container needs, and counts them.
fn forget_unneeded(transaction: &rusqlite::Transaction<'_>) -> Result<usize, rusqlite::Error> {
    let marked = transaction
        .tell(&format!("UPDATE device SET state = 'deleted' WHERE id IN ({UNNEEDED_LAYERS})"), [])?;
    transaction
        .tell("DELETE FROM layer WHERE device IN (SELECT id FROM device WHERE state = 'deleted')", [])?;
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
        connection.ask(ALL_LAYERS, [&chain], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
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
