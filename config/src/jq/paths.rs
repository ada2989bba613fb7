//! Plain paths (`.a.b`) looked up in one pass over the record, without building it.
//!
//! It answers only where jaq would answer the same, and leaves every other record, errors too, to jaq.

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

/// The paths of all keys as a tree.
pub(super) struct Paths {
    root: Node,
    keys: usize,
}

#[derive(Default)]
struct Node {
    children: Vec<(String, Node)>,
    /// The keys whose path ends here.
    keys: Vec<usize>,
}

/// One level of the tree, where the record stands.
struct Level<'a> {
    node: &'a Node,
    values: &'a mut Vec<Option<String>>,
}

struct Name<'a>(&'a Node);

impl Paths {
    /// `paths` has one path a key. `None` if one ends where another goes on, which no record can satisfy.
    pub(super) fn new(paths: &[Vec<String>]) -> Option<Paths> {
        let mut root = Node::default();
        for (key, path) in paths.iter().enumerate() {
            let mut node = &mut root;
            for name in path {
                node = node.child(name);
            }
            node.keys.push(key);
        }
        root.is_sound().then_some(Paths { root, keys: paths.len() })
    }

    /// The value of each key; `None` if jaq must say.
    pub(super) fn look_up(&self, record: &str) -> Option<Vec<String>> {
        // What is skipped is not checked for halves of surrogate pairs, which jaq refuses wherever they stand.
        if record.contains("\\ud") || record.contains("\\uD") {
            return None;
        }
        let mut values = vec![None; self.keys];
        let mut reader = sonic_rs::Deserializer::from_str(record);
        Level { node: &self.root, values: &mut values }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        values.into_iter().collect()
    }
}

impl Node {
    fn child(&mut self, name: &str) -> &mut Node {
        let at = self.children.iter().position(|(child, _)| child == name).unwrap_or_else(|| {
            self.children.push((name.into(), Node::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    fn is_sound(&self) -> bool {
        (self.keys.is_empty() || self.children.is_empty()) && self.children.iter().all(|(_, child)| child.is_sound())
    }

    /// Of two members of one name the last counts, so what an earlier one gave is forgotten.
    fn forget(&self, values: &mut [Option<String>]) {
        for &key in &self.keys {
            values[key] = None;
        }
        for (_, child) in &self.children {
            child.forget(values);
        }
    }
}

impl Level<'_> {
    fn set<E: Error>(self, text: &str) -> Result<(), E> {
        if text.is_empty() || self.node.keys.is_empty() {
            return Err(E::custom("for jaq"));
        }
        for &key in &self.node.keys {
            self.values[key] = Some(text.to_owned());
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

/// Null, fractions and arrays have no method, and so are an error here: jaq says what they are.
impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that needs no jaq")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.set(if value { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.set(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.set(&value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.set(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if self.node.children.is_empty() {
            return Err(A::Error::custom("for jaq"));
        }
        while let Some(child) = members.next_key_seed(Name(self.node))? {
            match child {
                Some(node) => {
                    node.forget(self.values);
                    members.next_value_seed(Level { node, values: &mut *self.values })?;
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl<'a, 'de> DeserializeSeed<'de> for Name<'a> {
    type Value = Option<&'a Node>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Option<&'a Node>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.iter().find(|(child, _)| child == name).map(|(_, node)| node))
    }
}
