//! What of a query counts (RFC 3986 s3.4): which parameters are left out, and
//! whether their order says something. Decides the one form of a query that is
//! both part of the key and forwarded. Nothing is decoded: what is written in
//! two ways an origin server may read in two ways.

/// What a route makes of queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRules {
    /// True: the whole query is left out.
    pub ignored: bool,
    /// True: parameters are put in the order of their names; those of one name
    /// stay in their own order, and empty ones are left out.
    pub sorted: bool,
    /// Parameters that are left out.
    pub dropped: Vec<ParameterPattern>,
}

/// Which parameters are meant, by the octets of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterPattern {
    /// Those of this name.
    Name(Box<str>),
    /// Those whose name begins with this.
    Prefix(Box<str>),
}

impl ParameterPattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(known) => **known == *name,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }
}

impl QueryRules {
    /// True if every query stays as it is.
    pub fn is_exact(&self) -> bool {
        !self.ignored && !self.sorted && self.dropped.is_empty()
    }

    /// The normal form of a path with this query; `None` if that is how it was
    /// received, and then nothing was allocated. The normal form of a normal
    /// form is itself.
    pub fn normal_form(&self, path: &str, query: &str) -> Option<String> {
        if self.ignored {
            return Some(path.to_owned());
        }
        if self.is_normal(query) {
            return None;
        }
        let mut kept: Vec<&str> = query.split('&').filter(|parameter| self.keeps(parameter)).collect();
        if self.sorted {
            kept.sort_by_key(|parameter| name(parameter));
        }
        let mut normal = path.to_owned();
        for (at, parameter) in kept.iter().enumerate() {
            normal.push(if at == 0 { '?' } else { '&' });
            normal.push_str(parameter);
        }
        Some(normal)
    }

    fn is_normal(&self, query: &str) -> bool {
        let mut parameters = query.split('&');
        parameters.all(|parameter| self.keeps(parameter))
            && (!self.sorted || query.split('&').is_sorted_by_key(name))
    }

    fn keeps(&self, parameter: &str) -> bool {
        let is_dropped = self.dropped.iter().any(|pattern| pattern.matches(name(parameter)));
        !is_dropped && (!self.sorted || !parameter.is_empty())
    }
}

/// The name of a parameter: what stands before its first `=`.
fn name(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or(parameter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(sorted: bool, dropped: &[&str]) -> QueryRules {
        let pattern = |written: &&str| match written.strip_suffix('*') {
            Some(prefix) => ParameterPattern::Prefix(prefix.into()),
            None => ParameterPattern::Name((*written).into()),
        };
        QueryRules { ignored: false, sorted, dropped: dropped.iter().map(pattern).collect() }
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let (exact, sorted) = (rules(false, &["utm_*", "fbclid"]), rules(true, &["utm_*"]));
        for (rules, query, expected) in [
            (&exact, "b=1&a=2", None),
            (&exact, "", None),
            (&exact, "b&&a&", None),
            (&exact, "utm=1&fbclids=2", None),
            (&exact, "utm%5Fsource=1", None),
            (&exact, "b=1&utm_source=x&a=2", Some("/p?b=1&a=2")),
            (&exact, "fbclid", Some("/p")),
            (&exact, "utm_a=1&fbclid=2", Some("/p")),
            (&exact, "utm_a=1&", Some("/p?")),
            (&sorted, "a=1&b=2", None),
            (&sorted, "b=2&a=1", Some("/p?a=1&b=2")),
            (&sorted, "b=2&a=2&b=1&a=1", Some("/p?a=2&a=1&b=2&b=1")),
            (&sorted, "a=2&a=1", None),
            (&sorted, "a-b=1&a=2", Some("/p?a=2&a-b=1")),
            (&sorted, "&&b&a", Some("/p?a&b")),
            (&sorted, "", Some("/p")),
            (&sorted, "b=%61&a=1+2", Some("/p?a=1+2&b=%61")),
        ] {
            assert_eq!(rules.normal_form("/p", query).as_deref(), expected, "{query}");
        }
        let ignored = QueryRules { ignored: true, ..QueryRules::default() };
        assert_eq!(ignored.normal_form("/p", "a=1").as_deref(), Some("/p"));
        assert!(!ignored.is_exact() && !exact.is_exact() && !sorted.is_exact());
    }

    fn queries() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("(a|b|utm_)[ab]{0,2}", "(=[a-c=]{0,2})?"), 0..7)
    }

    fn written(parameters: &[(String, String)]) -> String {
        parameters.iter().map(|(name, value)| format!("{name}{value}")).collect::<Vec<_>>().join("&")
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(query in "[ab=&]{0,12}", sorted: bool) {
            let rules = rules(sorted, &["a*"]);
            if let Some(normal) = rules.normal_form("/p", &query) {
                let again = normal.split_once('?').and_then(|(path, query)| rules.normal_form(path, query));
                prop_assert_eq!(again, None, "{}", normal);
            }
        }

        #[test]
        fn only_what_is_named_is_lost(parameters in queries(), sorted: bool) {
            let rules = rules(sorted, &["utm_*"]);
            let query = written(&parameters);
            let normal = rules.normal_form("/p", &query).unwrap_or_else(|| format!("/p?{query}"));
            let normal = normal.strip_prefix("/p").unwrap().trim_start_matches('?').to_owned();
            let of_name = |query: &str, wanted: &str| -> Vec<String> {
                let parameters = query.split('&').filter(|parameter| name(parameter) == wanted);
                parameters.filter(|parameter| !parameter.is_empty()).map(str::to_owned).collect()
            };
            for (wanted, _) in &parameters {
                let expected =
                    if wanted.starts_with("utm_") { Vec::new() } else { of_name(&query, wanted) };
                prop_assert_eq!(of_name(&normal, wanted), expected, "{}", normal);
            }
        }

        #[test]
        fn the_order_of_names_says_nothing_once_they_are_sorted(
            mut parameters in queries(),
            from: proptest::sample::Index,
        ) {
            let rules = rules(true, &[]);
            let form = |parameters: &[(String, String)]| {
                let query = written(parameters);
                rules.normal_form("/p", &query).unwrap_or_else(|| format!("/p?{query}"))
            };
            let before = form(&parameters);
            if !parameters.is_empty() {
                // Two neighbours change places, unless they have one name.
                let at = from.index(parameters.len());
                let next = (at + 1) % parameters.len();
                if at + 1 == next && parameters[at].0 != parameters[next].0 {
                    parameters.swap(at, next);
                }
            }
            prop_assert_eq!(form(&parameters), before);
        }
    }
}
