//! What is wrong with a file, where, and what to do about it; and how that is
//! shown: as rustc shows it, in plain text.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// Bytes of the file.
pub(crate) type Span = Range<usize>;

/// At most this many errors and as many warnings are kept; the first ones say enough.
const MOST_FINDINGS: usize = 200;

/// One finding.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    kind: Kind,
    title: String,
    span: Option<Span>,
    label: String,
    context: Option<(Span, String)>,
    help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syntax,
    Error,
    Warning,
}

impl Diagnostic {
    /// The file is not TOML at this place.
    pub(crate) fn syntax(title: impl Into<String>) -> Self {
        Self::new(Kind::Syntax, title)
    }

    /// The config cannot be used.
    pub(crate) fn error(title: impl Into<String>) -> Self {
        Self::new(Kind::Error, title)
    }

    /// The config can be used, but hardly means this.
    pub(crate) fn warning(title: impl Into<String>) -> Self {
        Self::new(Kind::Warning, title)
    }

    fn new(kind: Kind, title: impl Into<String>) -> Self {
        Self { kind, title: title.into(), span: None, label: String::new(), context: None, help: None }
    }

    /// Where it is, and what is wrong there.
    pub(crate) fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.span = Some(span);
        self.label = label.into();
        self
    }

    /// Another place that has to do with it.
    pub(crate) fn context(mut self, span: Span, label: impl Into<String>) -> Self {
        self.context = Some((span, label.into()));
        self
    }

    /// The way out.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The way out, where there is one.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    fn position(&self) -> usize {
        self.span.as_ref().map_or(0, |span| span.start)
    }

    /// The finding as text, without a line feed at its end.
    fn render(&self, file_name: &str, text: &str) -> String {
        let level = if self.kind == Kind::Warning { Level::WARNING } else { Level::ERROR };
        let mut group = Group::with_title(level.primary_title(&self.title));
        group = match &self.span {
            None => group.element(Origin::path(file_name)),
            Some(span) => {
                let mut primary = AnnotationKind::Primary.span(within(text, span));
                if !self.label.is_empty() {
                    primary = primary.label(&self.label);
                }
                let context = self
                    .context
                    .as_ref()
                    .map(|(span, label)| AnnotationKind::Context.span(within(text, span)).label(label));
                group.element(Snippet::source(text).path(file_name).annotation(primary).annotations(context))
            }
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        Renderer::plain().render(&[group])
    }
}

/// All findings of a file.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    found: Vec<Diagnostic>,
    /// Errors beyond the bound.
    not_kept: usize,
}

impl Diagnostics {
    /// Keeps a finding.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let is_warning = |found: &Diagnostic| found.kind == Kind::Warning;
        let alike = self.found.iter().filter(|found| is_warning(found) == is_warning(&diagnostic)).count();
        if alike < MOST_FINDINGS {
            self.found.push(diagnostic);
        } else if !is_warning(&diagnostic) {
            self.not_kept += 1;
        }
    }

    /// Keeps a finding that says something is missing, unless there are syntax
    /// errors: these may have hidden it.
    pub(crate) fn push_missing(&mut self, diagnostic: Diagnostic) {
        if !self.found.iter().any(|found| found.kind == Kind::Syntax) {
            self.push(diagnostic);
        }
    }

    /// In the order of the file; of a line that is not TOML only the first
    /// finding, the others follow from it.
    fn in_order(mut self, text: &str) -> (Vec<Diagnostic>, usize) {
        self.found.sort_by_key(|found| (found.kind != Kind::Syntax, found.position()));
        let mut broken_lines = Vec::new();
        self.found.retain(|found| {
            let Some(span) = &found.span else { return true };
            let line = line_of(text, span.start);
            let is_first = !broken_lines.contains(&line);
            if found.kind == Kind::Syntax {
                broken_lines.push(line);
            }
            is_first
        });
        self.found.sort_by_key(Diagnostic::position);
        (self.found, self.not_kept)
    }
}

/// The findings of a file as text.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// Each finding.
    pub(crate) findings: Vec<String>,
    /// How many of them are errors.
    pub(crate) errors: usize,
}

/// Renders all findings, in the order of the file.
pub(crate) fn render(diagnostics: Diagnostics, file_name: &str, text: &str) -> Rendered {
    let (found, not_kept) = diagnostics.in_order(text);
    let errors = found.iter().filter(|found| found.kind != Kind::Warning).count() + not_kept;
    let mut findings: Vec<String> = found.iter().map(|found| found.render(file_name, text)).collect();
    if not_kept > 0 {
        findings.push(format!("error: {not_kept} more errors are not shown"));
    }
    Rendered { findings, errors }
}

fn line_of(text: &str, position: usize) -> usize {
    text.as_bytes().iter().take(position).filter(|byte| **byte == b'\n').count()
}

/// The span cut to whole characters of the text.
fn within(text: &str, span: &Span) -> Span {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_looks_like_rustc_s() {
        let text = "email = \"me\"\nworkers = 0\n";
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::error("invalid `workers`").at(23..24, "too small").help("write 1"));
        let rendered = render(diagnostics, "seawall.toml", text);
        assert_eq!(rendered.errors, 1);
        assert_eq!(
            rendered.findings,
            [
                "error: invalid `workers`\n --> seawall.toml:2:11\n  |\n2 | workers = 0\n  |           ^ too small\n  |\n  = help: write 1"
            ]
        );
    }

    #[test]
    fn spans_outside_the_text_are_cut() {
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::error("wrong").at(1..90, "here"));
        let rendered = render(diagnostics, "seawall.toml", "é");
        assert!(rendered.findings[0].contains("seawall.toml:1:1"));
    }

    #[test]
    fn what_follows_from_a_syntax_error_is_not_shown() {
        let text = "a = \nb = 1\n";
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::syntax("no value").at(4..4, ""));
        diagnostics.push(Diagnostic::error("wrong a").at(0..1, ""));
        diagnostics.push(Diagnostic::error("wrong b").at(5..6, ""));
        diagnostics.push_missing(Diagnostic::error("no c"));
        assert_eq!(render(diagnostics, "x", text).errors, 2);
    }
}
