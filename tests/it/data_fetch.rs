//! Fetching from mirrors that disconnect, send wrong data, or send data that they should not.

use std::{io::Write, path::PathBuf, time::Duration};

use digitd::data::{
    Error, Random, Stream,
    fetch::{self, FetchConfig, FetchProgress, RemoteFile},
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::mirror::{Answer, Mirror};

const NAME: &str = "file.gz";

/// Content that does not compress, so that it can be cut anywhere.
fn content() -> Vec<u8> {
    let mut random = Random::new(0, Stream::Sample, 0, 0);
    (0..20_000).map(|_| random.below(256) as u8).collect()
}

fn packed(level: u32) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::new(level));
    packer.write_all(&content()).unwrap();
    packer.finish().unwrap()
}

/// A folder to fetch into, and the one file to fetch.
struct FetchFolder {
    folder: TempDir,
    config: FetchConfig,
    file: RemoteFile,
}

impl FetchFolder {
    fn new(mirrors: &[&Mirror]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = FetchConfig {
            mirrors: mirrors.iter().map(|mirror| mirror.address.clone()).collect(),
            read_timeout: Duration::from_secs(20),
            max_bytes: 100_000,
            ..FetchConfig::public(folder.path())
        };
        let digest = Sha256::digest(content());
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = RemoteFile { name: NAME.to_owned(), sha256, unpacked_bytes: 20_000 };
        Self { folder, config, file }
    }

    fn fetch(&self) -> Result<Vec<u64>, Error> {
        let mut steps = Vec::new();
        let mut note = |progress: FetchProgress<'_>| steps.push(progress.received);
        fetch::fetch_files(&self.config, std::slice::from_ref(&self.file), &mut note)?;
        Ok(steps)
    }

    fn fetched(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(NAME)).ok()
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join(format!("{NAME}.part"))
    }

    /// Only the lock remains.
    fn is_clean(&self) -> bool {
        !self.part().exists() && self.fetched().is_none()
    }
}

/// Fetches from one mirror with a script, and checks its requests; returns the folder and the result.
fn check(script: Vec<Answer>, expected_requests: &[&str]) -> (FetchFolder, Result<Vec<u64>, Error>) {
    let mirror = Mirror::start(script);
    let target = FetchFolder::new(&[&mirror]);
    let result = target.fetch();
    let expected_requests: Vec<String> =
        expected_requests.iter().map(|range| format!("/mnist/{NAME}{range}")).collect();
    assert_eq!(mirror.finish(), expected_requests, "{result:?}");
    (target, result)
}

fn message(result: Result<Vec<u64>, Error>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_file_is_fetched_once_and_its_progress_reported() {
    let (target, result) = check(vec![Answer::Whole(packed(9))], &[""]);
    let steps = result.unwrap();
    assert!(steps.is_sorted() && steps.last() == Some(&(packed(9).len() as u64)));
    assert_eq!(target.fetched(), Some(packed(9)));
    assert!(!target.part().exists());
    // The mirror has stopped: a second fetch must not need it.
    assert!(target.fetch().unwrap().is_empty());
}

#[test]
fn a_download_that_breaks_off_is_continued_where_it_stopped() {
    let script =
        vec![Answer::BreaksOff(packed(9), 5000), Answer::BreaksOff(packed(9), 7), Answer::Whole(packed(9))];
    let (target, result) = check(script, &["", " 5000-", " 5007-"]);
    result.unwrap();
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_download_of_an_earlier_process_is_continued() {
    let mirror = Mirror::start(vec![Answer::Whole(packed(9))]);
    let target = FetchFolder::new(&[&mirror]);
    std::fs::write(target.part(), &packed(9)[..1234]).unwrap();
    target.fetch().unwrap();
    assert_eq!(mirror.finish(), [format!("/mnist/{NAME} 1234-")]);
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_complete_part_file_is_only_renamed() {
    let mirror = Mirror::start(vec![Answer::Whole(packed(9))]);
    let target = FetchFolder::new(&[&mirror]);
    std::fs::write(target.part(), packed(9)).unwrap();
    target.fetch().unwrap();
    assert_eq!(target.fetched(), Some(packed(9)));
    mirror.finish();
}

#[test]
fn a_part_file_of_another_compression_is_discarded() {
    let mirror = Mirror::start(vec![Answer::Whole(packed(9)), Answer::Whole(packed(9))]);
    let target = FetchFolder::new(&[&mirror]);
    std::fs::write(target.part(), vec![1; 3000]).unwrap();
    target.fetch().unwrap();
    assert_eq!(mirror.finish(), [format!("/mnist/{NAME} 3000-"), format!("/mnist/{NAME}")]);
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_mirror_that_ignores_the_range_is_read_from_the_start() {
    let script = vec![Answer::BreaksOff(packed(9), 5000), Answer::IgnoresRange(packed(9))];
    let (target, result) = check(script, &["", " 5000-"]);
    result.unwrap();
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_mirror_that_sends_another_range_is_skipped() {
    let script = vec![Answer::BreaksOff(packed(9), 5000), Answer::WrongRange(packed(9))];
    let (target, result) = check(script, &["", " 5000-"]);
    assert!(message(result).contains("another range"));
    assert!(target.fetched().is_none());
}

#[test]
fn wrong_bytes_are_removed_and_the_next_mirror_is_tried() {
    let (wrong, right) = (
        Mirror::start(vec![Answer::Whole(b"not the file".to_vec())]),
        Mirror::start(vec![Answer::Whole(packed(9))]),
    );
    let target = FetchFolder::new(&[&wrong, &right]);
    target.fetch().unwrap();
    assert_eq!(wrong.finish(), [format!("/mnist/{NAME}")]);
    // The download starts from the first byte: nothing of the wrong file may remain.
    assert_eq!(right.finish(), [format!("/mnist/{NAME}")]);
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn wrong_bytes_from_every_mirror_are_an_error_that_says_what_to_do() {
    let (target, result) = check(vec![Answer::Whole(b"not the file".to_vec())], &[""]);
    let text = message(result);
    for word in ["SHA-256", "--data-dir", "synthetic", &target.folder.path().display().to_string()] {
        assert!(text.contains(word), "{text}");
    }
    assert!(target.is_clean());
}

#[test]
fn a_length_that_is_too_short_leaves_no_file() {
    let (target, result) = check(vec![Answer::Promises(3000, packed(9))], &[""]);
    assert!(message(result).contains("does not unpack"));
    assert!(target.is_clean());
}

#[test]
fn a_length_that_is_too_long_is_requested_again_and_found_complete() {
    let script = vec![Answer::Promises(packed(9).len() + 500, packed(9)), Answer::Whole(packed(9))];
    let (target, result) = check(script, &["", &format!(" {}-", packed(9).len())]);
    result.unwrap();
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_length_above_the_cap_is_rejected_before_a_byte_is_stored() {
    let (target, result) = check(vec![Answer::Promises(100_001, Vec::new())], &[""]);
    assert!(message(result).contains("promises 100001 bytes"));
    assert!(target.fetched().is_none());
}

#[test]
fn endless_data_is_cut_at_the_cap() {
    let (target, result) = check(vec![Answer::Endless], &[""]);
    assert!(message(result).contains("more than 100000 bytes"));
    assert!(target.fetched().is_none());
    assert_eq!(std::fs::metadata(target.part()).unwrap().len(), 0);
}

#[test]
fn a_bomb_that_unpacks_to_more_than_it_should_is_removed() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![0; 10_000_000]).unwrap();
    let (target, result) = check(vec![Answer::Whole(packer.finish().unwrap())], &[""]);
    assert!(message(result).contains("unpacks to more than the 20000 bytes"));
    assert!(target.is_clean());
}

#[test]
fn statuses_and_dead_mirrors_lead_to_the_next_one() {
    let (refusing, right) =
        (Mirror::start(vec![Answer::Status("403 Forbidden")]), Mirror::start(vec![Answer::Whole(packed(9))]));
    let mut target = FetchFolder::new(&[&refusing, &right]);
    // The port was free a moment ago, so nobody listens.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    target.config.mirrors.insert(0, format!("http://{dead}"));
    target.fetch().unwrap();
    refusing.finish();
    right.finish();
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_broken_file_under_the_target_name_is_replaced() {
    let mirror = Mirror::start(vec![Answer::Whole(packed(9))]);
    let target = FetchFolder::new(&[&mirror]);
    std::fs::write(target.folder.path().join(NAME), "half a file").unwrap();
    target.fetch().unwrap();
    mirror.finish();
    assert_eq!(target.fetched(), Some(packed(9)));
}

#[test]
fn a_folder_that_cannot_be_created_is_reported_as_such() {
    let mut target = FetchFolder::new(&[]);
    let file = target.folder.path().join("in the way");
    std::fs::write(&file, "").unwrap();
    target.config.directory = file.join("folder");
    assert!(matches!(target.fetch(), Err(Error::Io { action: "make the folder", .. })));
}
