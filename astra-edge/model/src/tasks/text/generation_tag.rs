//! Replaces `{% generation %}` and `{% endgeneration %}`, which mark the model's own text in templates, for training.
//!
//! In `transformers` the tag renders its body in its own scope. The tags of `with` do the same, so they replace these; whitespace control
//! (`-`, `+`) and line numbers are unchanged.

/// The template with the tags of `with` in place of those of `generation`.
pub(super) fn replace(source: &str) -> String {
    let mut done = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((begin, end)) = next_tag(rest) {
        let (before, from) = rest.split_at(begin);
        let (tag, after) = from.split_at(end - begin);
        done.push_str(before);
        match word(tag) {
            "generation" => done.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" => done.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ => done.push_str(tag),
        }
        rest = after;
        if word(tag) == "raw" {
            let raw = end_of_raw(rest);
            let (raw, after) = rest.split_at(raw);
            done.push_str(raw);
            rest = after;
        }
    }
    done.push_str(rest);
    done
}

/// Begin and end of the next tag, expression or comment.
fn next_tag(source: &str) -> Option<(usize, usize)> {
    let begins = source.match_indices('{').map(|(at, _)| at);
    let mut begins = begins.filter_map(|at| {
        let end = match source.as_bytes().get(at + 1)? {
            b'%' => "%}",
            b'{' => "}}",
            b'#' => "#}",
            _ => return None,
        };
        Some((at, end))
    });
    let (begin, end) = begins.next()?;
    let inside = source.get(begin + 2..)?;
    let length = match end {
        "#}" => inside.find(end)?,
        _ => find_outside_strings(inside, end)?,
    };
    Some((begin, begin + 2 + length + end.len()))
}

/// Position of `end` in `source`, outside of string literals.
fn find_outside_strings(source: &str, end: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in source.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if source.get(at..)?.starts_with(end) => return Some(at),
            None => {}
        }
    }
    None
}

/// The first word of a tag; empty for expressions and comments.
fn word(tag: &str) -> &str {
    let Some(inside) = tag.strip_prefix("{%") else {
        return "";
    };
    let inside = inside.trim_start_matches(['-', '+']).trim_start();
    let end = inside.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    inside
        .get(..end.unwrap_or(inside.len()))
        .unwrap_or_default()
}

/// Position of the tag that ends raw text.
fn end_of_raw(source: &str) -> usize {
    let mut tags = source.match_indices("{%").map(|(at, _)| at);
    let end = tags.find(|at| word(source.get(*at..).unwrap_or_default()) == "endraw");
    end.unwrap_or(source.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_replaced_by_those_of_with() {
        for (source, expected) in [
            (
                "a{% generation %}b{% endgeneration %}c",
                "a{% with %}b{% endwith %}c",
            ),
            (
                "{%- generation -%} x {%+ endgeneration-%}",
                "{%- with -%} x {%+ endwith-%}",
            ),
            (
                "{%generation%}{{ '{% generation %}' }}{%\nendgeneration\n%}",
                "{%with%}{{ '{% generation %}' }}{%\nendwith\n%}",
            ),
            (
                "{# {% generation %} #}{% if x == \"%}{% generation %}\" %}",
                "{# {% generation %} #}{% if x == \"%}{% generation %}\" %}",
            ),
            (
                "{% raw -%}{% generation %}{{ {%- endraw %}{% generation %}",
                "{% raw -%}{% generation %}{{ {%- endraw %}{% with %}",
            ),
            (
                "{% if 'it\\'s' %}{% set generation = 1 %}{% endif %}",
                "{% if 'it\\'s' %}{% set generation = 1 %}{% endif %}",
            ),
            ("no { tag", "no { tag"),
            ("{% unfinished", "{% unfinished"),
            ("{{ '", "{{ '"),
            ("{", "{"),
        ] {
            assert_eq!(replace(source), expected);
        }
    }
}
