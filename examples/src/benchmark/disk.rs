//! The disk below the logs: its file system, what was written to it, how long an append takes.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::Error;

/// The file system that holds a folder, and the device below it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// Its type, e.g. `ext4`.
    pub file_system: String,
    /// `MAJOR:MINOR`; of no device when the file system is not on one.
    device: String,
}

impl Disk {
    /// Finds the one that holds a folder.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let folder = fs::canonicalize(folder)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let (_, device, file_system) = mounts
            .lines()
            .filter_map(|line| {
                let (place, kind) = line.split_once(" - ")?;
                let mut place = place.split(' ').skip(2);
                let (device, point) = (place.next()?, place.nth(1)?);
                Some((point, device, kind.split(' ').next()?))
            })
            .filter(|(point, ..)| folder.starts_with(point))
            // Of two mounts at the same place the later one is seen.
            .max_by_key(|(point, ..)| point.len())
            .ok_or("no file system holds the folder")?;
        Ok(Self {
            file_system: file_system.to_owned(),
            device: device.to_owned(),
            folder,
        })
    }

    /// Bytes written to the device since the machine started, by anybody; none without a device.
    ///
    /// Linux also counts for each process, but as much for one byte as for the whole piece of
    /// cache it stands in, up to 2 MiB: of no use for a log.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        const SECTOR: u64 = 512;
        let stat = fs::read_to_string(format!("/sys/dev/block/{}/stat", self.device)).ok()?;
        let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
        Some(sectors * SECTOR)
    }

    /// Times appends of 4 KiB to a new file, each with `fdatasync`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn time_appends(&self, times: usize) -> Result<Vec<Duration>, Error> {
        let path = self.folder.join("appends");
        let mut file = File::create(&path)?;
        let mut latencies = Vec::with_capacity(times);
        for _ in 0..times {
            let begun = Instant::now();
            file.write_all(&[7; 4096])?;
            file.sync_data()?;
            latencies.push(begun.elapsed());
        }
        fs::remove_file(&path)?;
        Ok(latencies)
    }
}
