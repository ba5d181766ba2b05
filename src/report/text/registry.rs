//! Models, their versions and aliases.

use super::{
    layout::Layout,
    names::enum_label,
    number::{bytes, count, loss, percent},
    table,
    time::date_time,
};
use crate::{
    pb::digitd::v1::{
        AliasAssignment, AliasEvidence, ImportVersionResponse, Model, ModelRef, ModelVersion,
        RequirementResult, model_ref::Which,
    },
    report::json,
};

/// A row for every model.
pub fn models(models: &[Model], layout: Layout) -> String {
    let mut table = table::table(layout, &["model<", "versions", "newest", "aliases<"]);
    for model in models {
        let aliases: Vec<String> =
            model.aliases.iter().map(|(alias, version)| format!("{alias}={version}")).collect();
        let numbers = [model.version_count.to_string(), model.newest_version.to_string()];
        table.add_row([model.name.clone()].into_iter().chain(numbers).chain([aliases.join(" ")]));
    }
    table::text(&table)
}

/// A row for every version.
pub fn versions(versions: &[ModelVersion], layout: Layout) -> String {
    let header = ["version", "validation", "parameters", "size", "published<", "aliases<"];
    let mut table = table::table(layout, &header);
    for version in versions {
        table.add_row([
            version.version.to_string(),
            percent(version.validation_accuracy),
            count(version.total_parameters),
            bytes(i64::from(version.weights_bytes).unsigned_abs()),
            date_time(version.create_time.as_ref()),
            version.aliases.join(" "),
        ]);
    }
    table::text(&table)
}

/// The fields of one version, and the request that trained it.
pub fn version(it: &ModelVersion) -> String {
    let both = |value, accuracy| format!("loss {}, accuracy {}", loss(value), percent(accuracy));
    let facts = [
        ("model", it.name.clone()),
        ("version", it.version.to_string()),
        ("aliases", it.aliases.join(" ")),
        ("published", date_time(it.create_time.as_ref())),
        ("run", it.run_id.clone()),
        ("parent", it.parent.as_ref().map(parent).unwrap_or_default()),
        ("imported", it.imported.as_ref().map(|_| "from a file".to_owned()).unwrap_or_default()),
        ("precision", it.precision().as_str_name().trim_start_matches("PRECISION_").to_lowercase()),
        ("epoch", it.epoch.map(|epoch| epoch.to_string()).unwrap_or_default()),
        ("training", both(it.train_loss, it.train_accuracy)),
        ("validation", both(it.validation_loss, it.validation_accuracy)),
        ("parameters", count(it.total_parameters)),
        (
            "weights",
            format!("{}, SHA-256 {}", bytes(i64::from(it.weights_bytes).unsigned_abs()), it.weights_sha256),
        ),
        ("data set", format!("SHA-256 {}", it.dataset_digest)),
        ("created by", format!("digitd {}, libtorch {}", it.digitd_version, it.libtorch_version)),
    ];
    let request = it.request.as_ref().map(|request| json::text("TrainRequest", request)).unwrap_or_default();
    let facts: String = facts
        .iter()
        .filter(|(name, fact)| !fact.is_empty() || *name == "aliases")
        .map(|(name, fact)| format!("{name:<11} {fact}").trim_end().to_owned() + "\n")
        .collect();
    format!("{facts}request     {request}\n")
}

fn parent(parent: &ModelRef) -> String {
    match parent.which {
        Some(Which::Version(version)) => format!("{}/{version}", parent.name),
        Some(Which::Alias(_)) | None => parent.name.clone(),
    }
}

/// A row for every assignment of an alias.
pub fn assignments(assignments: &[AliasAssignment], layout: Layout) -> String {
    let measured = assignments.iter().any(|it| it.evidence.is_some());
    let columns = ["number", "version", "previous", "assigned<", "by<", "reason<", "measured<"];
    let mut table = table::table(layout, &columns[..columns.len() - usize::from(!measured)]);
    for it in assignments {
        let evidence = it.evidence.as_ref().map(evidence).unwrap_or_default();
        let cells = [
            it.number.to_string(),
            it.version.to_string(),
            it.previous_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            date_time(it.time.as_ref()),
            it.by.clone(),
            it.reason.clone(),
        ];
        table.add_row(cells.into_iter().chain(measured.then_some(evidence)));
    }
    table::text(&table)
}

/// The version that an alias points to now, and the measurements that its move rests on.
pub fn alias_move(alias: &str, assignment: &AliasAssignment) -> String {
    let before = match assignment.previous_version {
        Some(version) => format!(", previously to version {version}"),
        None => String::new(),
    };
    let measured = match &assignment.evidence {
        Some(it) => format!("measured: {}\n", evidence(it)),
        None => String::new(),
    };
    format!("{alias} points to version {}{before}\n{measured}", assignment.version)
}

/// An imported version, and which array became which parameter where the names differ.
pub fn imported_version(response: &ImportVersionResponse) -> String {
    let version = response.version.clone().unwrap_or_default();
    let renamed = response.arrays.iter().filter(|array| array.array != array.parameter);
    let mapping: String = renamed
        .map(|array| format!("  {} {:?} from {}\n", array.parameter, array.shape, array.array))
        .collect();
    let aliases = match version.aliases.is_empty() {
        true => String::new(),
        false => format!(" ({})", version.aliases.join(", ")),
    };
    format!("{} version {}{aliases}\n{mapping}", version.name, version.version)
}

/// The evidence of an assignment, as in `accuracy>=0.99 (0.9907) on mnist test`.
fn evidence(evidence: &AliasEvidence) -> String {
    let figures = evidence.results.iter().map(requirement_result).collect::<Vec<_>>().join(", ");
    let dataset = evidence.dataset.as_ref().map_or("", |dataset| dataset.name.as_str());
    format!("{figures} on {dataset} {}", enum_label(evidence.split().as_str_name(), "SPLIT"))
}

/// A requirement with its measured value, as in `accuracy>=0.99 (0.9907)`.
pub fn requirement_result(result: &RequirementResult) -> String {
    // Six decimals distinguish every count of a million images; JSON has them all.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let measured = result.measured.map_or_else(|| "-".to_owned(), |value| rounded(value).to_string());
    format!("{} ({measured})", result.requirement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_shows_where_its_aliases_point() {
        let aliases = [("latest".to_owned(), 3), ("production".to_owned(), 2)].into();
        let model = Model { name: "digits".to_owned(), newest_version: 3, version_count: 3, aliases };
        assert!(models(&[model], Layout::PLAIN).contains("latest=3 production=2"));
    }

    #[test]
    fn a_first_assignment_has_no_previous_version() {
        let (by, reason) = ("ana".to_owned(), "published".to_owned());
        let first = AliasAssignment { number: 1, version: 1, by, reason, ..Default::default() };
        let text = assignments(&[first], Layout::PLAIN);
        assert_eq!(
            text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["1", "1", "-", "-", "ana", "published"]
        );
    }

    #[test]
    fn an_assignment_shows_its_measurements() {
        let result =
            RequirementResult { requirement: "accuracy>=0.99".to_owned(), measured: Some(0.990_700_000_1) };
        let dataset = Some(crate::pb::digitd::v1::Dataset { name: "mnist".to_owned(), ..Default::default() });
        let evidence = AliasEvidence { results: vec![result], dataset, split: 3, ..Default::default() };
        let it = AliasAssignment { version: 3, evidence: Some(evidence), ..Default::default() };
        let measured = "accuracy>=0.99 (0.9907) on mnist test";
        let expected = format!("production points to version 3\nmeasured: {measured}\n");
        assert_eq!(alias_move("production", &it), expected);
        assert!(assignments(&[it, AliasAssignment::default()], Layout::PLAIN).contains(measured));
    }

    #[test]
    fn a_version_shows_its_origin() {
        let it = ModelVersion { run_id: "r".to_owned(), weights_bytes: 81_400, ..Default::default() };
        let text = version(&it);
        assert!(text.contains("run         r\n") && text.contains("81.4 kB"), "{text}");
    }
}
