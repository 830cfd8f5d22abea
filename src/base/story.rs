//! An error as people read it: what happened, and what that comes from.

use std::error::Error;

/// `error` with what it comes from, in one line as far as they are, and without what
/// it says itself already.
pub fn story(error: &(dyn Error + 'static)) -> String {
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !story.contains(&cause_text) {
            story = format!("{story}: {cause_text}");
        }
        source = cause.source();
    }
    story
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] io::Error);

    #[test]
    fn causes_follow_unless_they_are_told_already() {
        let told = |text| story(&Told(text, io::Error::other("the disk is full")));
        assert_eq!(told("cannot write"), "cannot write: the disk is full");
        assert_eq!(told("cannot write: the disk is full"), "cannot write: the disk is full");
    }
}
