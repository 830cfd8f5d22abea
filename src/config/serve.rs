//! The config that `seawall serve NAME --to A,B` stands for.

/// The text of the shortest config for one site. Whatever the words hold, the
/// text is TOML: what is wrong with them is found when it is checked.
pub fn serve_text(name: &str, to: &[String]) -> String {
    let origins: Vec<_> = to.iter().map(|origin| quoted(origin)).collect();
    format!("[site.{}]\norigins = [{}]\n", quoted(name), origins.join(", "))
}

/// A basic string (TOML 1.0), which may stand as a key too.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
