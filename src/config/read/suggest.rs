//! "Did you mean": the known word that is nearest to what was written.

/// The nearest of `known`, if it is near enough to have been meant: at most
/// every third letter differs, a swap counting once.
pub(crate) fn did_you_mean<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let written = written.to_lowercase();
    let allowed = (written.chars().count().min(64) / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, word), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["origins", "health", "aliases"];
        assert_eq!(did_you_mean("orgins", known), Some("origins"));
        assert_eq!(did_you_mean("HEALTH", known), Some("health"));
        assert_eq!(did_you_mean("alaises", known), Some("aliases"));
        assert_eq!(did_you_mean("banana", known), None);
        assert_eq!(did_you_mean("", known), None);
    }
}
