//! Numbers as people read them.

/// `20350` as `20 350`.
pub fn count(number: impl Into<i64>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage of two decimals, `-` where there is none.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

/// A loss of four decimals, `-` where there is none.
pub fn loss(loss: Option<f64>) -> String {
    loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"))
}

/// A duration in the unit that suits it.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

/// A number to four decimals, or as a power of ten where it is far from 1.
pub fn significant(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (1e-3..1e5).contains(&size) => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.3e}"),
    }
}

/// A large number with its unit, `2.36 M`.
pub fn large(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// A size in bytes, `9.9 MB`.
pub fn bytes(number: u64) -> String {
    match number {
        n if n >= 1_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        n if n >= 1_000 => format!("{:.1} kB", n as f64 / 1e3),
        n => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(
            ["7", "980", "20 350", "-1 000 000"],
            [7, 980, 20_350, -1_000_000].map(count).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn a_missing_value_is_a_dash_and_zero_is_zero() {
        assert_eq!(percent(None), "-");
        assert_eq!(percent(Some(0.0)), "0.00 %");
        assert_eq!(loss(Some(f64::NAN)), "NaN");
    }

    #[test]
    fn durations_have_the_unit_of_their_magnitude() {
        let shown = [0.0002, 0.25, 25.31, 150.0, 7260.0].map(seconds);
        assert_eq!(shown, ["200 us", "250 ms", "25.3 s", "2 min 30 s", "2 h 01 min"]);
    }

    #[test]
    fn large_numbers_are_abbreviated_with_a_letter() {
        assert_eq!([784.0, 9_800.0, 2_361_800.0].map(large), ["784", "9.8 k", "2.36 M"]);
        assert_eq!([0, 81_400, 9_912_422].map(bytes), ["0 B", "81.4 kB", "9.9 MB"]);
    }
}
