//! The files in which a folder's writes gather before they get their name, `NAME#N`: what a killed server leaves of
//! them.

use std::{fs, io, path::Path, time::SystemTime};

/// Removes such files that were last written before `before`, in the folder and below it; returns their number.
pub fn sweep(folder: &Path, before: SystemTime) -> io::Result<usize> {
    let mut swept = 0;
    for entry in present(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            swept += sweep(&entry.path(), before)?;
        } else if kind.is_file() && is_staging(&entry.file_name().to_string_lossy()) {
            let Some(data) = present(entry.metadata())? else { continue };
            if data.modified()? < before && present(fs::remove_file(entry.path()))?.is_some() {
                swept += 1;
            }
        }
    }
    Ok(swept)
}

/// No object has such a name: `#` is escaped in those.
fn is_staging(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// None where another server has finished or removed it meanwhile.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_old_files_of_unfinished_writes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("runs/a/events");
        fs::create_dir_all(&events).unwrap();
        let now = SystemTime::now();
        let old = now - Duration::from_secs(7200);
        for (name, written) in
            [("1.jsonl", old), ("1.jsonl#1", old), ("1.jsonl#22", now), ("x#", old), ("x#y", old)]
        {
            let file = fs::File::create(events.join(name)).unwrap();
            file.set_modified(written).unwrap();
        }
        assert_eq!(sweep(folder.path(), now - Duration::from_secs(3600)).unwrap(), 1);
        let mut left: Vec<_> =
            fs::read_dir(&events).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["1.jsonl", "1.jsonl#22", "x#", "x#y"]);
    }
}
