//! Docker's devicemapper driver, as long as there was one, asked by its own client. A container is two snapshots and a mount.

use std::fs;
use std::path::PathBuf;

use crate::bed::{Bed, PlainPool, text};
use crate::contender::Contender;
use crate::daemon::Daemon;
use crate::tool::{Outcome, run};

pub struct Docker {
    daemon: Daemon,
    pool: PlainPool,
    socket: String,
    byte: PathBuf,
    count: u32,
}

impl Docker {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let (pool, own) = (PlainPool::new(bed, "docker")?, bed.directory("docker")?);
        let socket = format!("unix://{}", own.join("socket").display());
        let byte = own.join("first-byte");
        fs::write(&byte, "1")?;
        let option = |name: &str| format!("--{name}={}", own.join(name).display());
        let [root, state, pid] = ["data-root", "exec-root", "pidfile"].map(option);
        let thin_pool = format!("dm.thinpooldev={}", pool.path());
        let mut arguments = vec!["--host", &socket, &root, &state, &pid, "--bridge=none", "--iptables=false"];
        arguments.push("--storage-driver=devicemapper");
        for option in [&thin_pool, "dm.fs=ext4", "dm.basesize=10G", "dm.blkdiscard=false"] {
            arguments.extend(["--storage-opt", option]);
        }
        let answers = || run("docker", ["--host", &socket, "version"]).is_ok();
        let daemon = Daemon::start("dockerd", &arguments, &own.join("log"), answers)?;
        run("docker", ["--host", &socket, "import", text(&bed.archive()), "tree"])?;
        Ok(Self { daemon, pool, socket, byte, count: 0 })
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        run("docker", [&["--host", &self.socket], arguments].concat()).map(drop)
    }

    fn name(&self) -> String {
        format!("copy{}", self.count)
    }
}

impl Contender for Docker {
    fn snapshot(&mut self) -> Outcome {
        self.count += 1;
        self.run(&["create", "--network=none", "--name", &self.name(), "tree", "/bin/true"])
    }

    /// It mounts a container only while one runs, or while something is copied into it.
    fn write(&mut self) -> Outcome {
        let to = format!("{}:/first-byte", self.name());
        self.run(&["cp", text(&self.byte), &to])
    }

    fn remove(&mut self) -> Outcome {
        self.run(&["rm", &self.name()])
    }

    fn idle(&mut self) -> Option<Outcome> {
        Some(self.run(&["version"]))
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.run(&["rmi", "tree"])?;
        self.daemon.stop()?;
        self.pool.remove()
    }
}
