//! Names of the contract as people read them: values of enums, and classes.

/// `RUN_STATE_COMPLETED` as `completed`: the name without its enum's prefix.
pub fn enum_label(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).trim_start_matches('_').to_ascii_lowercase().replace('_', " ")
}

/// The name of a class, or its number where classes have none.
pub fn class_label(names: &[String], class: i32) -> String {
    let name = usize::try_from(class).ok().and_then(|at| names.get(at));
    name.cloned().unwrap_or_else(|| class.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_prefix() {
        assert_eq!(enum_label("FINISH_REASON_NON_FINITE", "FINISH_REASON"), "non finite");
        assert_eq!(enum_label("OTHER", "FINISH_REASON"), "other");
    }

    #[test]
    fn a_class_without_a_name_is_shown_by_its_number() {
        let names = ["zero".to_owned(), "one".to_owned()];
        assert_eq!([1, 2, -1].map(|class| class_label(&names, class)), ["one", "2", "-1"]);
    }
}
