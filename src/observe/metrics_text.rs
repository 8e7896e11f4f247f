//! Reads samples out of the Prometheus text format. A node's page is somebody else's and may end in the middle,
//! so every line that is not understood is passed over; nothing is kept but the samples asked for.

/// One sample: a value and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels, in the order of the page.
    pub labels: Vec<(String, String)>,
    /// May be infinite, or not a number.
    pub value: f64,
}

impl Sample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The samples of one metric. A last line without a line feed is cut off, and not read: half a number is a
/// number too.
pub fn samples(page: &str, metric: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    for line in page.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { continue };
        let Some(rest) = line.strip_prefix(metric) else { continue };
        samples.extend(sample(rest));
    }
    samples
}

/// Labels and value, which follow the metric's name in a line.
fn sample(text: &str) -> Option<Sample> {
    let (labels, rest) = match text.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        // The name goes on: another metric.
        None if !text.starts_with([' ', '\t']) => return None,
        None => (Vec::new(), text),
    };
    // A timestamp may follow the value.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { labels, value })
}

type Labels = Vec<(String, String)>;

/// Labels up to the closing brace, and what follows it.
fn labels(inside: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    let mut rest = inside.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim().to_owned(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// A label's value up to its closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[position + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(page: &str) -> Vec<f64> {
        samples(page, "size").iter().map(|sample| sample.value).collect()
    }

    #[test]
    fn a_page_is_read_as_prometheus_writes_it() {
        let page = "# HELP size Bytes\n# TYPE size gauge\n\
                    size{id=\"1\",state=\"Sealed\"} 1.5e+06\n\
                    size{id=\"2\", state=\"Growing\",} 3 1700000000000\n\
                    size 4\nsize_total 5\nother{id=\"1\"} 6\n";
        let read = samples(page, "size");
        assert_eq!(read.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.5e6, 3.0, 4.0]);
        assert_eq!((read[0].label("id"), read[0].label("state")), (Some("1"), Some("Sealed")));
        assert_eq!((read[1].label("state"), read[2].label("id")), (Some("Growing"), None));
    }

    #[test]
    fn escaped_labels_are_unescaped() {
        let page = "size{name=\"a\\\"b\\\\c\\nd}, e\",id=\"7\"} 1\n";
        let read = samples(page, "size");
        assert_eq!(read[0].label("name"), Some("a\"b\\c\nd}, e"));
        assert_eq!(read[0].label("id"), Some("7"));
    }

    #[test]
    fn odd_values_are_read_and_left_to_the_reader() {
        assert_eq!(values("size -1\nsize +Inf\nsize -Inf\n"), [-1.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert!(values("size NaN\n")[0].is_nan());
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        for line in [
            "size{",
            "size{id",
            "size{id=",
            "size{id=\"1",
            "size{id=\"1\\",
            "size{id=\"1\"}",
            "size{id=\"1\"} x",
        ] {
            assert_eq!(values(&format!("{line}\nsize 2\n")), [2.0], "{line}");
        }
        assert_eq!(values("size{id=\"1\"\u{0} 3} 4\n\nsize\nsizé 1\n"), [0.0; 0]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_not_read() {
        assert_eq!(values("size{id=\"1\"} 100\nsize{id=\"2\"} 12"), [100.0]);
    }

    #[test]
    fn one_huge_line_is_read_in_one_pass() {
        // Quadratic time would be hours here, not a slow test.
        let huge = format!("size{{id=\"{}\"}} 1\n", "\\\"".repeat(5_000_000));
        assert_eq!(samples(&huge, "size")[0].label("id").map(str::len), Some(5_000_000));
        let labels = format!("size{{{}}} 1\n", "a=\"b\",".repeat(200_000));
        assert_eq!(samples(&labels, "size")[0].labels.len(), 200_000);
        assert_eq!(values(&format!("size{{{}", "a=\"b\",".repeat(200_000))), [0.0; 0]);
    }
}
