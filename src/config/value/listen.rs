//! Where a monitor listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{AbsolutePath, SettingType, Shape};

/// Where the metrics of a pool are told to who asks over HTTP. There is no way to tell them to other hosts: nobody would have to
/// say who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Nowhere,
    /// At a socket in the file system.
    Socket(PathBuf),
    /// At a port of this host's own addresses.
    Loopback(SocketAddr),
}

/// As the setting is written.
impl fmt::Display for MetricsListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl SettingType for MetricsListen {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "unix:PATH, a loopback address with a port such as 127.0.0.1:9855 or [::1]:9855, or unset".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text == "unset" {
            return Ok(Self::Nowhere);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(AbsolutePath::parse(path)?.as_path().to_owned()));
        }
        let address: SocketAddr = text.parse().map_err(|_| None)?;
        if !address.ip().is_loopback() {
            return Err(Some("metrics are told to this host only".to_owned()));
        }
        Ok(Self::Loopback(address))
    }

    fn show(&self) -> String {
        match self {
            Self::Nowhere => "unset".to_owned(),
            Self::Socket(path) => format!("unix:{}", path.display()),
            Self::Loopback(address) => address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_host_is_told_the_metrics() {
        for text in ["0.0.0.0:9855", "[::]:9855", "192.0.2.1:9855"] {
            assert!(matches!(MetricsListen::parse(text), Err(Some(_))), "{text}");
        }
        for text in ["", "9855", "localhost:9855", "unix:metrics.sock", "unix:/run/../etc/x", "127.0.0.1"] {
            assert_eq!(MetricsListen::parse(text), Err(None), "{text}");
        }
        for text in ["unset", "unix:/run/thinpool.sock", "127.0.0.1:9855", "[::1]:9855"] {
            assert_eq!(MetricsListen::parse(text).map(|listen| listen.show()), Ok(text.to_owned()));
        }
    }
}
