//! Settings as a TOML file that can be read back, with secrets hidden.

use toml::{Table, Value};

use super::settings::Settings;

/// The replacement for a secret.
const HIDDEN: &str = "(hidden)";

impl Settings {
    /// The settings as TOML. Passwords, tokens and the user part of addresses are hidden.
    pub fn to_toml(&self) -> String {
        let mut table = Table::try_from(self).expect("settings are tables of texts and numbers");
        hide(&mut table);
        toml::to_string(&table).expect("a table of tables is TOML")
    }
}

fn hide(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => hide(inner),
            Value::String(text) if is_secret(key) && !text.is_empty() => *text = HIDDEN.to_owned(),
            Value::String(text) => hide_user(text),
            _ => {}
        }
    }
}

fn is_secret(key: &str) -> bool {
    ["token", "password", "secret"].iter().any(|word| key.contains(word))
}

/// `https://user:word@host/path` becomes `https://(hidden)@host/path`.
fn hide_user(text: &mut String) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if let Some(at) = authority.rfind('@') {
        *text = format!("{scheme}://{HIDDEN}{}", &rest[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_settings_can_be_read_back() {
        let settings = Settings::default();
        assert_eq!(toml::from_str::<Settings>(&settings.to_toml()).unwrap(), settings);
    }

    #[test]
    fn the_user_part_of_an_address_is_hidden() {
        let mut settings = Settings::default();
        settings.store.url = "s3://name:word@bucket/prefix".to_owned();
        let shown = settings.to_toml();
        assert!(shown.contains("s3://(hidden)@bucket/prefix") && !shown.contains("word"), "{shown}");
    }

    #[test]
    fn tokens_and_passwords_are_hidden_everywhere() {
        let mut table: Table = "user = 'a'\n[deep]\nadmin_token = 'b'\npassword = 'c'".parse().unwrap();
        hide(&mut table);
        let shown = table.to_string();
        assert!(shown.contains("'a'") || shown.contains("\"a\""), "{shown}");
        assert!(!shown.contains("\"b\"") && !shown.contains("\"c\""), "{shown}");
    }
}
