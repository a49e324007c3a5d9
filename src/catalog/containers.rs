//! Containers: a name for a writable device.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, Transaction, named_params};

use super::pool::{from_json, json};
use super::{Catalog, CatalogError, Device, DeviceState, Durability, Prepared, devices};
use crate::dm::Name;
use crate::units::DeviceId;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: Device,
    /// The image it was made of.
    pub image: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Whether it is to have its node whenever the pool is active.
    pub active: bool,
    /// What its users noted on it.
    pub labels: BTreeMap<String, String>,
}

impl Container {
    /// Writes the name down, in the step that records the intent to make its device. `false` if its image is gone.
    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<bool, rusqlite::Error> {
        let inserted = transaction.tell(
            "INSERT INTO container (name, device, image, created, labels)
             SELECT :name, :device, name, :created, :labels FROM image WHERE name = :image",
            named_params! {
                ":name": self.name, ":device": self.device.id, ":image": self.image, ":created": self.created,
                ":labels": json(&self.labels)?,
            },
        )?;
        Ok(inserted == 1)
    }
}

impl Catalog {
    /// A container by its name, however far its life has come: a name is taken from the first moment on.
    pub fn container(&self, name: &str) -> Result<Option<Container>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM container WHERE name = ?1";
            connection.ask(query, [name], |row| from_row(connection, row)).optional()
        })
    }

    /// All containers that are ready, by name.
    pub fn containers(&self) -> Result<Vec<Container>, CatalogError> {
        self.ready_containers("")
    }

    /// Those that are to have their node whenever the pool is active: few of many, so the others aren't read.
    pub fn remembered_containers(&self) -> Result<Vec<Container>, CatalogError> {
        self.ready_containers("AND container.active")
    }

    fn ready_containers(&self, and: &str) -> Result<Vec<Container>, CatalogError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(&format!(
                "SELECT container.* FROM container JOIN device ON device.id = container.device
                 WHERE device.state = 'ready' {and} ORDER BY container.name"
            ))?;
            query.query_map([], |row| from_row(connection, row))?.collect()
        })
    }

    /// Remembers whether a container is to have its node whenever the pool is active.
    pub fn set_container_active(&mut self, name: &str, active: bool) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let values = rusqlite::params![name, active];
            transaction.tell("UPDATE container SET active = ?2 WHERE name = ?1", values).map(drop)
        })
    }

    /// Gives a container another name, and its device the name of the node that goes with it. This is the moment at which
    /// it is renamed: what the kernel calls its device is brought in line by whoever next works on it. `false`, and nothing
    /// changes, if the name or the node's is taken.
    pub fn rename_container(
        &mut self,
        container: &Container,
        name: &str,
        node: &Name,
    ) -> Result<bool, CatalogError> {
        const FREE: &str = "SELECT NOT EXISTS (SELECT 1 FROM container WHERE name = ?1)
                               AND NOT EXISTS (SELECT 1 FROM device WHERE node = ?2)";
        let renamed = self.change_if(Durability::Synced, |transaction| {
            if !transaction.ask(FREE, (name, node.as_str()), |row| row.get(0))? {
                return Ok(None);
            }
            transaction
                .tell("UPDATE device SET node = ?2 WHERE id = ?1", (container.device.id, node.as_str()))?;
            let values = (&container.name, name);
            transaction.tell("UPDATE container SET name = ?2 WHERE name = ?1", values).map(Some)
        })?;
        Ok(renamed == Some(1))
    }

    /// Takes a container's name away and marks its device for deletion: from here on it is gone, only its blocks
    /// are still to be freed.
    pub fn remove_container(&mut self, container: &Container) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let values = (&container.name, container.device.id);
            transaction.tell("DELETE FROM container WHERE name = ?1 AND device = ?2", values)?;
            devices::set_state(transaction, container.device.id, DeviceState::Deleted)
        })
    }
}

/// Whether a container's own columns can be understood, whatever they refer to.
pub(super) fn readable(row: &Row<'_>) -> Result<(), rusqlite::Error> {
    row.get::<_, String>("name")?;
    row.get::<_, DeviceId>("device")?;
    row.get::<_, String>("image")?;
    row.get::<_, i64>("created")?;
    row.get::<_, bool>("active")?;
    let labels: String = row.get("labels")?;
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&labels).map(drop).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

fn from_row(connection: &rusqlite::Connection, row: &Row<'_>) -> Result<Container, rusqlite::Error> {
    Ok(Container {
        name: row.get("name")?,
        device: devices::get(connection, row.get("device")?)?,
        image: row.get("image")?,
        created: row.get("created")?,
        active: row.get("active")?,
        labels: from_json(row, "labels")?,
    })
}
