//! The daemons tell a service manager that they are ready, alive and stopping.

use crate::warehouse::{Done, Warehouse, program};
use anyhow::{Context as _, ensure};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Managed {
    child: Child,
    hears: UnixDatagram,
}

impl Managed {
    fn start(warehouse: &Warehouse, role: &str, folder: &str, args: &[&str]) -> anyhow::Result<Self> {
        let socket = warehouse.path(&format!("{role}.notify"));
        let hears = UnixDatagram::bind(&socket)?;
        hears.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut command = program().command(role, &warehouse.path(folder), args);
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "300000").env_remove("WATCHDOG_PID");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, hears })
    }

    fn hears(&self) -> anyhow::Result<String> {
        let mut bytes = [0; 256];
        let length = self.hears.recv(&mut bytes).context("the daemon says nothing")?;
        Ok(String::from_utf8_lossy(&bytes[..length]).trim().to_owned())
    }

    fn hears_all(mut self) -> Done {
        let mut said = Vec::new();
        while !(said.iter().any(|word| word == "READY=1")
            && said.iter().filter(|word| *word == "WATCHDOG=1").count() > 2)
        {
            said.push(self.hears()?);
        }
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        while self.hears()? != "STOPPING=1" {}
        ensure!(self.child.wait()?.success(), "it ends well");
        Ok(())
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hub_says_that_it_is_ready_alive_and_stopping() -> Done {
    let warehouse = Warehouse::closed(None)?;
    Managed::start(&warehouse, "hub", "hub", &["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])?
        .hears_all()
}

#[test]
fn a_device_says_that_it_is_ready_alive_and_stopping() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    drop(edge);
    Managed::start(&warehouse, "edge", "packing-1", &["run", "--http", "off"])?.hears_all()
}
