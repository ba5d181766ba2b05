//! Loads settings: flags override the environment, the environment the file, the file the defaults. An
//! unknown key is an error.

use std::{collections::BTreeSet, path::Path, time::Duration};

use figment::{
    Figment, Profile, Provider,
    error::Kind,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map},
};

use super::{
    custom_datasets, env,
    error::{Error, nearest},
    flags::Flags,
    settings::Settings,
};

/// The settings of this process: `flags` override `variables`, which override the file that `flags` names,
/// which overrides the defaults.
///
/// Errors on a file that cannot be read, a key that is no setting, and a value out of its range.
pub fn load(flags: &Flags, variables: impl Iterator<Item = (String, String)>) -> Result<Settings, Error> {
    let defaults = Serialized::defaults(Settings::default());
    let known = defaults.data().ok().and_then(|mut data| data.remove(&Profile::Default)).unwrap_or_default();
    let mut figment = Figment::from(defaults);
    if let Some(path) = &flags.config {
        figment = figment.merge(Toml::string(&read(path)?));
    }
    let figment = figment
        .merge(Layer("environment", env::sections(variables, &known)?))
        .merge(Layer("command line", flags.sections()?));
    let settings = figment.extract().map_err(|error| explain(error, flags.config.as_deref(), &known))?;
    check(settings)
}

/// The environment of this process. A variable that is not Unicode is no setting.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A layer of settings with its name in messages.
struct Layer(&'static str, Map<String, Dict>);

impl Provider for Layer {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.0)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let sections = self.1.iter().map(|(section, keys)| (section.clone(), keys.clone().into()));
        Ok(Map::from([(Profile::Default, sections.collect())]))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// The error of figment as one of ours: the place, the cause, and what was probably meant.
fn explain(error: figment::Error, file: Option<&Path>, known: &Dict) -> Error {
    let layer = error.metadata.as_ref().map(|metadata| metadata.name.to_string()).unwrap_or_default();
    let layer = match file {
        Some(path) if layer.contains("TOML") || layer.is_empty() => path.display().to_string(),
        _ => layer,
    };
    let key = error.path.join(".");
    match error.kind {
        Kind::UnknownField(field, _) => {
            let key = if key.ends_with(&field) { key } else { [key, field].join(".") };
            let key = key.trim_start_matches('.').to_owned();
            let all = all_keys(known);
            Error::UnknownKey { place: layer, near: nearest(&key, all.iter()).map(str::to_owned), key }
        }
        kind => Error::Value {
            place: [layer, key].join(": ").trim_matches([':', ' ']).to_owned(),
            cause: kind.to_string(),
        },
    }
}

/// `section.key` of every setting, and the sections themselves.
fn all_keys(known: &Dict) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (section, keys) in known {
        all.insert(section.clone());
        for key in keys.as_dict().into_iter().flat_map(Dict::keys) {
            all.insert(format!("{section}.{key}"));
        }
    }
    all
}

/// Longest `max_queue_delay`: beyond it callers would believe the server dead.
const MAX_QUEUE_DELAY: Duration = Duration::from_secs(1);

/// Most threads of a kind: more than any machine has cores, and few enough to start.
const MAX_THREADS: usize = 1024;

/// Most images of one forward pass, as in the contract's `batch_size`.
const MAX_BATCH_SIZE: usize = 65_536;

/// Checks what no type can express: that a limit is not zero, and that no number is too large.
fn check(settings: Settings) -> Result<Settings, Error> {
    let invalid = |key: &str, cause: &str| Error::Value { place: key.to_owned(), cause: cause.to_owned() };
    let serving = &settings.serving;
    let least_one = [
        ("server.max_message_bytes", settings.server.max_message_bytes),
        ("server.max_connections", settings.server.max_connections),
        ("serving.max_batch_size", serving.max_batch_size),
        ("serving.queue_capacity", serving.queue_capacity),
        ("serving.max_loaded_versions", serving.max_loaded_versions),
    ];
    if let Some((key, _)) = least_one.into_iter().find(|(_, number)| *number == 0) {
        return Err(invalid(key, "must be at least 1"));
    }
    let bounded = [
        ("serving.workers", serving.workers, MAX_THREADS),
        ("compute.threads", settings.compute.threads, MAX_THREADS),
        ("serving.max_batch_size", serving.max_batch_size, MAX_BATCH_SIZE),
    ];
    if let Some((key, _, most)) = bounded.into_iter().find(|(_, number, most)| number > most) {
        return Err(invalid(key, &format!("must be at most {most}")));
    }
    if serving.max_queue_delay.0 > MAX_QUEUE_DELAY {
        return Err(invalid("serving.max_queue_delay", "must be at most 1s"));
    }
    custom_datasets::check(&settings.data.sets)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser as _;

    use super::*;
    use crate::{config::settings::HttpAddr, engine::DeviceChoice};

    #[derive(clap::Parser)]
    struct FlagsLine {
        #[command(flatten)]
        flags: Flags,
    }

    /// Settings of a command line, variables and a file.
    fn settings(line: &str, variables: &[(&str, &str)], file: Option<&str>) -> Result<Settings, Error> {
        let mut flags =
            FlagsLine::try_parse_from(["digitd"].into_iter().chain(line.split_whitespace())).unwrap().flags;
        let mut kept = tempfile::NamedTempFile::new().unwrap();
        if let Some(text) = file {
            kept.write_all(text.as_bytes()).unwrap();
            flags.config = Some(kept.path().to_owned());
        }
        load(&flags, variables.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    }

    fn error(variables: &[(&str, &str)], file: Option<&str>) -> String {
        settings("", variables, file).unwrap_err().to_string()
    }

    #[test]
    fn without_flags_variables_and_file_the_defaults_hold() {
        assert_eq!(settings("", &[], None).unwrap(), Settings::default());
    }

    #[test]
    fn a_flag_overrides_a_variable_overrides_the_file_overrides_the_default() {
        let file = "[compute]\nthreads = 1\ndevice = \"cpu\"\n[store]\nurl = \"file\"\n";
        let variables = [("DIGITD_COMPUTE_THREADS", "2"), ("DIGITD_STORE_URL", "7")];
        let found = settings("--threads 3", &variables, Some(file)).unwrap();
        assert_eq!(found.compute.threads, 3);
        assert_eq!(found.compute.device, DeviceChoice::Cpu);
        assert_eq!(found.store.url, "7");
        assert_eq!(found.serving.max_batch_size, 64);
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let line = "--grpc-addr 0.0.0.0:1 --http-addr off --max-message-bytes 9 --drain-timeout 3s --store s --keep-newest 77 --data-dir d --dataset-dir own=/o --fetch never --device cuda:1 \
                    --threads 4 --workers 5 --max-batch-size 6 --max-queue-delay 7ms --queue-capacity 8 --max-loaded-versions 11 \
                    --log-format json --log-level warn --tensorboard-dir board";
        let found = settings(line, &[], None).unwrap();
        let text = toml::to_string(&found).unwrap();
        for part in [
            "0.0.0.0:1",
            "\"s\"",
            "keep_newest = 77",
            "\"d\"",
            "own = \"/o\"",
            "never",
            "cuda:1",
            "= 4",
            "= 5",
            "= 6",
            "7ms",
            "= 8",
            "= 11",
            "json",
            "warn",
            "\"board\"",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(found.server.http_addr, HttpAddr::Off);
    }

    #[test]
    fn the_data_folder_comes_from_its_variable() {
        let found = settings("", &[("DIGITD_DATA_DIR", "/somewhere")], None).unwrap();
        assert_eq!(found.data.dir, Path::new("/somewhere"));
    }

    #[test]
    fn custom_data_sets_are_merged_with_the_same_precedence() {
        let file = "[data.sets]\na = \"/file/a\"\nb = \"/file/b\"\nc = \"/file/c\"\n";
        let variables = [("DIGITD_DATA_SETS", "b=/variable/b, c=/variable/c,")];
        let found = settings("--dataset-dir c=/flag/c --dataset-dir d=e=f", &variables, Some(file)).unwrap();
        let sets: Vec<_> = found.data.sets.iter().map(|(name, dir)| (name.as_str(), dir.as_path())).collect();
        let expected = [("a", "/file/a"), ("b", "/variable/b"), ("c", "/flag/c"), ("d", "e=f")];
        assert_eq!(sets, expected.map(|(name, dir)| (name, Path::new(dir))));
        assert_eq!(toml::from_str::<Settings>(&found.to_toml()).unwrap(), found);
    }

    #[test]
    fn an_invalid_data_set_is_rejected_with_its_location() {
        let rejected = |text| error(&[("DIGITD_DATA_SETS", text)], None);
        for (text, expected) in [
            ("letters", "DIGITD_DATA_SETS: \"letters\" is not a data set: write NAME=FOLDER"),
            ("a=/x,a=/y", "DIGITD_DATA_SETS: two data sets are named a"),
            ("../a=/x", "DIGITD_DATA_SETS: data set name \"../a\" is not valid"),
            ("mnist=/x", "data.sets.mnist: is built in"),
            ("synthetic=/x", "data.sets.synthetic: is built in"),
            ("a=", "data.sets.a: has no folder"),
        ] {
            let message = rejected(text);
            assert!(message.contains(expected), "{message}");
        }
        let many: String = (0..65).map(|at| format!("s{at}=/x,")).collect();
        assert!(rejected(&many).contains("data.sets: has 65 data sets: name at most 64"));
        let twice = settings("--dataset-dir a=/x --dataset-dir a=/y", &[], None).unwrap_err().to_string();
        assert!(twice.starts_with("--dataset-dir: two data sets are named a"), "{twice}");
        let file = error(&[], Some("[data.sets]\n\"a b\" = \"/x\"\n"));
        assert!(file.contains("data.sets") && file.contains("a b"), "{file}");
    }

    #[test]
    fn variables_of_scripts_and_of_kubernetes_are_ignored() {
        let variables = [
            ("DIGITD_LIBTORCH", "cpu"),
            ("DIGITD_CI", "true"),
            ("DIGITD_SERVICE_HOST", "10.0.0.1"),
            ("DIGITD_SERVER_SERVICE_PORT", "8001"),
            ("DIGITD_SERVER_PORT", "tcp://10.0.0.1:8001"),
        ];
        assert_eq!(settings("", &variables, None).unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_variable_is_rejected_with_a_suggestion() {
        let message = error(&[("DIGITD_SERVING_MAX_BATCHSIZE", "8")], None);
        assert!(
            message.contains("DIGITD_SERVING_MAX_BATCHSIZE; did you mean DIGITD_SERVING_MAX_BATCH_SIZE?"),
            "{message}"
        );
        let message = error(&[("DIGITD_SERVRE_GRPC_ADDR", "x")], None);
        assert!(message.contains("did you mean DIGITD_SERVER_GRPC_ADDR?"), "{message}");
    }

    #[test]
    fn an_unknown_key_of_the_file_is_rejected_with_a_suggestion() {
        let message = error(&[], Some("[serving]\nmax_batch_sise = 8\n"));
        assert!(
            message.contains("\"serving.max_batch_sise\"; did you mean serving.max_batch_size?"),
            "{message}"
        );
        let message = error(&[], Some("[servin]\nworkers = 8\n"));
        assert!(message.contains("\"servin\"; did you mean serving?"), "{message}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_its_location() {
        let message = error(&[("DIGITD_SERVING_WORKERS", "many")], None);
        assert!(message.contains("DIGITD_SERVING_WORKERS") && message.contains("whole number"), "{message}");
        let message = error(&[("DIGITD_COMPUTE_DEVICE", "gpu")], None);
        assert!(message.contains("compute.device") && message.contains("cuda:0"), "{message}");
        let message = error(&[], Some("[serving]\nmax_batch_size = 0\n"));
        assert!(message.contains("serving.max_batch_size") && message.contains("at least 1"), "{message}");
        let message = error(&[("DIGITD_SERVING_WORKERS", "99999999")], None);
        assert!(message.contains("serving.workers") && message.contains("at most 1024"), "{message}");
        let message = error(&[("DIGITD_SERVING_MAX_QUEUE_DELAY", "1h")], None);
        assert!(message.contains("at most 1s"), "{message}");
        let message = error(&[], Some("[serving\n"));
        assert!(message.contains("expected"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = settings("--config /nowhere/digitd.toml", &[], None).unwrap_err();
        assert!(error.to_string().contains("/nowhere/digitd.toml"), "{error}");
    }
}
