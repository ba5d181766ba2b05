//! The download of one file over HTTP into `NAME.part`, continued where it broke off. It checks the
//! size of what it receives, never the content.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
};

use super::config::{FetchConfig, FetchProgress, RemoteFile};
use crate::data::Error;

/// The largest number of attempts per mirror; a download that broke off is continued.
const MAX_ATTEMPTS: usize = 5;

/// Why a file was not received.
pub enum Failure {
    /// The mirror failed, with a text that continues from its address; another one may work.
    Mirror(String),
    /// This machine failed, so that no mirror can help.
    Here(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// A download in progress.
pub struct Download<'a> {
    config: &'a FetchConfig,
    name: &'a str,
    mirror: &'a str,
    agent: Agent,
    part_path: PathBuf,
    part: File,
    received: u64,
}

impl<'a> Download<'a> {
    /// Opens the partial file, which may hold what an earlier try has received.
    pub fn open(config: &'a FetchConfig, file: &'a RemoteFile, mirror: &'a str) -> Result<Self, Failure> {
        let part_path = config.directory.join(format!("{}.part", file.name));
        let mut part = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&part_path)
            .map_err(Error::io("write", &part_path))?;
        let received = part.seek(SeekFrom::End(0)).map_err(Error::io("write", &part_path))?;
        let agent = Agent::config_builder()
            .timeout_connect(Some(config.connect_timeout))
            .timeout_recv_response(Some(config.read_timeout))
            .timeout_per_read(Some(config.read_timeout))
            .timeout_recv_body(Some(config.file_timeout))
            .max_redirects(5)
            .http_status_as_error(false)
            // The download is continued by byte offset, so the bytes must be transferred unchanged.
            .accept_encoding("identity")
            .user_agent(concat!("digitd/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let mut download = Self { config, name: &file.name, mirror, agent, part_path, part, received };
        if received > config.max_bytes {
            download.restart()?;
        }
        Ok(download)
    }

    pub fn path(&self) -> &Path {
        &self.part_path
    }

    /// Returns the number of bytes received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Receives until the file is complete by the mirror's length; continues where it breaks off, as long as
    /// each attempt receives something.
    pub fn run(&mut self, progress: &mut dyn FnMut(FetchProgress<'_>)) -> Result<(), Failure> {
        for _ in 1..MAX_ATTEMPTS {
            let before = self.received;
            match self.receive(progress) {
                Err(Failure::Mirror(_)) if self.received > before => {}
                done => return done,
            }
        }
        self.receive(progress)
    }

    /// Discards the received bytes.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.part.set_len(0).map_err(Error::io("write", &self.part_path))?;
        self.part.rewind().map_err(Error::io("write", &self.part_path))?;
        self.received = 0;
        Ok(())
    }

    /// Writes the file durably to the disk, still under its partial name.
    pub fn keep(self) -> Result<PathBuf, Failure> {
        self.part.sync_all().map_err(Error::io("write", &self.part_path))?;
        Ok(self.part_path)
    }

    /// Removes a file of wrong content.
    pub fn discard(self, reason: &Error) -> Failure {
        match std::fs::remove_file(&self.part_path) {
            Ok(()) => Failure::Mirror(format!("sent something else: {reason}")),
            Err(error) => Failure::Here(Error::io("remove", &self.part_path)(error)),
        }
    }

    fn receive(&mut self, progress: &mut dyn FnMut(FetchProgress<'_>)) -> Result<(), Failure> {
        let address = format!("{}/{}", self.mirror.trim_end_matches('/'), self.name);
        let mut request = self.agent.get(&address);
        if self.received > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.received));
        }
        let response =
            request.call().map_err(|error| Failure::Mirror(format!("does not respond ({error})")))?;
        match response.status() {
            StatusCode::OK => self.restart()?,
            StatusCode::PARTIAL_CONTENT if self.continues(&response) => {}
            StatusCode::PARTIAL_CONTENT => {
                self.restart()?;
                return Err(Failure::Mirror(
                    "responded with another range than the requested one".to_owned(),
                ));
            }
            // There is nothing after the received bytes: the file may be complete, which its digest decides.
            StatusCode::RANGE_NOT_SATISFIABLE if self.received > 0 => return Ok(()),
            other => return Err(Failure::Mirror(format!("responded {other}"))),
        }
        self.receive_body(response, progress)
    }

    /// Whether a partial response begins where the local file ends.
    fn continues(&self, response: &Response<Body>) -> bool {
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.received)))
    }

    fn receive_body(
        &mut self,
        response: Response<Body>,
        progress: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<(), Failure> {
        let total = response.body().content_length().map(|rest| rest.saturating_add(self.received));
        if let Some(total) = total.filter(|&total| total > self.config.max_bytes) {
            return Err(Failure::Mirror(format!(
                "promises {total} bytes: {} are the most",
                self.config.max_bytes
            )));
        }
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; 64 << 10];
        loop {
            let broke_off = |at, error| Failure::Mirror(format!("broke off at byte {at} ({error})"));
            let read = body.read(&mut piece).map_err(|error| broke_off(self.received, error.to_string()))?;
            if read == 0 {
                return match total {
                    Some(total) if self.received < total => {
                        Err(broke_off(self.received, format!("of {total}")))
                    }
                    _ => Ok(()),
                };
            }
            if self.received + read as u64 > self.config.max_bytes {
                self.restart()?;
                return Err(Failure::Mirror(format!("sends more than {} bytes", self.config.max_bytes)));
            }
            self.part.write_all(&piece[..read]).map_err(Error::io("write", &self.part_path))?;
            self.received += read as u64;
            let (file, mirror, received) = (self.name, self.mirror, self.received);
            progress(FetchProgress { file, mirror, received, total });
        }
    }
}
