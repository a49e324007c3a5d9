//! Changes of an image's configuration, in the words of a Dockerfile: `CMD ["/bin/web"]`, `ENV A=1 B=2`.

use std::str::FromStr;

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::config::{ConfigError, ImageConfig, object};

/// A change of an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// What a container runs by itself.
    Command(Vec<String>),
    /// What it runs before that.
    Entrypoint(Vec<String>),
    /// Variables of its environment.
    Environment(Vec<(String, String)>),
    /// Ports it listens on, such as `80/tcp`.
    Expose(Vec<String>),
    /// What its maker says of the image.
    Label(Vec<(String, String)>),
    /// Whom it runs as.
    User(String),
    /// Directories that are to be kept apart from it.
    Volume(Vec<String>),
    /// Where it runs.
    WorkingDirectory(String),
}

/// A change that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{change}' can't be understood: {why}")]
pub struct ChangeError {
    change: String,
    why: &'static str,
}

const KNOWN: &str = "it begins with CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME or WORKDIR";

impl FromStr for ConfigChange {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let refused = |why| ChangeError { change: text.to_owned(), why };
        let (word, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(|| refused(KNOWN))?;
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(refused("nothing follows the first word"));
        }
        let words = || shlex::split(rest).ok_or_else(|| refused("a quote has no end"));
        let pairs = || pairs(&words()?, rest).ok_or_else(|| refused("NAME=VALUE is expected"));
        Ok(match word.to_ascii_uppercase().as_str() {
            "CMD" => Self::Command(command(rest)),
            "ENTRYPOINT" => Self::Entrypoint(command(rest)),
            "ENV" => Self::Environment(pairs()?),
            "EXPOSE" => {
                let ports: Option<Vec<_>> = words()?.iter().map(|word| port(word)).collect();
                Self::Expose(ports.ok_or_else(|| refused("a port is expected, such as 80 or 53/udp"))?)
            }
            "LABEL" => Self::Label(pairs()?),
            "USER" => Self::User(rest.to_owned()),
            "VOLUME" => Self::Volume(list(rest).map_or_else(words, Ok)?),
            "WORKDIR" => Self::WorkingDirectory(rest.to_owned()),
            _ => return Err(refused(KNOWN)),
        })
    }
}

impl ConfigChange {
    /// Changes a configuration.
    pub(super) fn apply(&self, config: &mut ImageConfig) -> Result<(), ConfigError> {
        let settings = config.settings_mut()?;
        let mut set = |key: &str, value: Value| drop(settings.insert(key.to_owned(), value));
        match self {
            Self::Command(command) => set("Cmd", json!(command)),
            Self::Entrypoint(command) => {
                set("Entrypoint", json!(command));
                // As in a Dockerfile: arguments for another program make no sense to this one.
                settings.remove("Cmd");
            }
            Self::User(user) => set("User", json!(user)),
            Self::WorkingDirectory(directory) => set("WorkingDir", json!(directory)),
            Self::Environment(pairs) => environment(settings, pairs)?,
            Self::Label(pairs) => {
                let labels = object(settings, "Labels")?;
                labels.extend(pairs.iter().map(|(key, value)| (key.clone(), json!(value))));
            }
            Self::Expose(ports) => {
                object(settings, "ExposedPorts")?.extend(ports.iter().map(|port| (port.clone(), json!({}))));
            }
            Self::Volume(paths) => {
                object(settings, "Volumes")?.extend(paths.iter().map(|path| (path.clone(), json!({}))));
            }
        }
        Ok(())
    }
}

/// A list as JSON.
fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A command as a list, or as a line for the shell.
fn command(text: &str) -> Vec<String> {
    list(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// `A=1 B=2`, or Docker's old form `A 1`.
fn pairs(words: &[String], text: &str) -> Option<Vec<(String, String)>> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    if words.first()?.contains('=') {
        return words.iter().map(pair).collect();
    }
    let (key, value) = text.split_once(char::is_whitespace)?;
    Some(vec![(key.to_owned(), value.trim().to_owned())])
}

/// `80` is `80/tcp`; ranges are allowed.
fn port(word: &str) -> Option<String> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let fits = |port: &str| port.parse::<u16>().is_ok();
    let known = ["tcp", "udp", "sctp"].contains(&protocol);
    (known && ports.split('-').all(fits)).then(|| format!("{ports}/{protocol}"))
}

/// Variables take the place of those of the same name.
fn environment(settings: &mut Map<String, Value>, pairs: &[(String, String)]) -> Result<(), ConfigError> {
    let there = settings.entry("Env").or_insert(Value::Null);
    if there.is_null() {
        *there = json!([]);
    }
    let there = there.as_array_mut().ok_or(ConfigError::Shape("config.Env"))?;
    for (key, value) in pairs {
        let new = json!(format!("{key}={value}"));
        let same = |old: &&mut Value| {
            old.as_str().and_then(|old| old.split_once('=')).is_some_and(|(name, _)| name == key)
        };
        match there.iter_mut().find(same) {
            Some(old) => *old = new,
            None => there.push(new),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Value {
        let json = r#"{"config":{"Env":["PATH=/bin","A=0"],"Cmd":["old"],"Labels":null}}"#;
        let mut config = ImageConfig::parse(json).unwrap();
        for change in changes {
            change.parse::<ConfigChange>().expect(change).apply(&mut config).unwrap();
        }
        config.into_value()["config"].take()
    }

    #[test]
    fn changes_mean_what_they_mean_in_a_dockerfile() {
        let settings = changed(&[
            r#"ENTRYPOINT ["/init", "--quiet"]"#,
            "cmd echo $HOME",
            "ENV A=1 B='two words'",
            "ENV C three words",
            r#"LABEL maintainer="A. N. Other" empty="#,
            "EXPOSE 80 53/udp",
            r#"VOLUME ["/data"]"#,
            "VOLUME /var/log /tmp",
            "USER 1000:1000",
            "WORKDIR /srv",
        ]);
        assert_eq!(
            settings,
            json!({
                "Entrypoint": ["/init", "--quiet"],
                "Cmd": ["/bin/sh", "-c", "echo $HOME"],
                "Env": ["PATH=/bin", "A=1", "B=two words", "C=three words"],
                "Labels": { "maintainer": "A. N. Other", "empty": "" },
                "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
                "Volumes": { "/data": {}, "/var/log": {}, "/tmp": {} },
                "User": "1000:1000",
                "WorkingDir": "/srv",
            })
        );
    }

    #[test]
    fn a_new_entrypoint_gets_no_arguments_of_the_old_one() {
        assert_eq!(changed(&["ENTRYPOINT /init"]).get("Cmd"), None);
    }

    #[test]
    fn a_change_that_cant_be_understood_is_refused() {
        for change in
            ["", "CMD", "CMD ", "RUN make", "ENV =1", "ENV A", "LABEL 'x", "EXPOSE http", "EXPOSE 80/ip"]
        {
            assert!(change.parse::<ConfigChange>().is_err(), "{change}");
        }
    }
}
