//! The plugins of one delivery stream, one after the other. A record is settled by the first that does not answer Ok.

use hydrant_config::Plugin;

use crate::{Host, Input, LoadError, LoadedPlugin, Outcome, Transform, TransformError};

#[derive(Debug)]
pub struct Chain {
    plugins: Vec<LoadedPlugin>,
    transforms: Vec<Box<dyn Transform>>,
}

impl Chain {
    /// `None` without plugins. The first plugin that cannot be loaded is the error.
    pub fn load(host: &Host, plugins: &[Plugin], stream_name: &str) -> Result<Option<Chain>, LoadError> {
        let loaded: Result<Vec<_>, _> = plugins.iter().map(|plugin| host.load(plugin, stream_name)).collect();
        Ok(Chain::of(loaded?))
    }

    /// `None` without plugins.
    #[must_use]
    pub fn of(plugins: Vec<LoadedPlugin>) -> Option<Chain> {
        let transforms: Vec<_> = plugins.iter().map(LoadedPlugin::transform).collect();
        (!plugins.is_empty()).then_some(Chain { plugins, transforms })
    }

    /// The same plugins with instances of their own, for another thread.
    #[must_use]
    pub fn another(&self) -> Chain {
        let transforms = self.plugins.iter().map(LoadedPlugin::transform).collect();
        Chain { plugins: self.plugins.clone(), transforms }
    }

    #[must_use]
    pub fn plugins(&self) -> &[LoadedPlugin] {
        &self.plugins
    }
}

impl Transform for Chain {
    fn transform(&mut self, records: &[Input]) -> Result<Vec<Outcome>, TransformError> {
        let (first, others) = self.transforms.split_first_mut().expect("a chain has at least one plugin");
        let mut outcomes = first.transform(records)?;
        for transform in others {
            pass_on(transform.as_mut(), records, &mut outcomes)?;
        }
        Ok(outcomes)
    }
}

/// Gives the next plugin what is still Ok, and puts its answers in place.
fn pass_on(next: &mut dyn Transform, records: &[Input], outcomes: &mut [Outcome]) -> Result<(), TransformError> {
    let mut places = Vec::new();
    let mut inputs = Vec::new();
    for (place, (record, outcome)) in records.iter().zip(&*outcomes).enumerate() {
        if let Outcome::Ok { data, .. } = outcome {
            places.push(place);
            inputs.push(Input { data: data.clone(), ..record.clone() });
        }
    }
    for (place, mut answer) in places.into_iter().zip(next.transform(&inputs)?) {
        if let (Outcome::Ok { partition_keys: earlier, .. }, Outcome::Ok { partition_keys: later, .. }) =
            (&mut outcomes[place], &mut answer)
        {
            *later = merged(std::mem::take(earlier), std::mem::take(later));
        }
        outcomes[place] = answer;
    }
    Ok(())
}

/// The later plugin wins; a key keeps the place where it first came up.
fn merged(mut keys: Vec<(String, String)>, later: Vec<(String, String)>) -> Vec<(String, String)> {
    for (key, value) in later {
        match keys.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => keys.push((key, value)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn the_later_value_wins_in_the_place_of_the_earlier() {
        let keys =
            |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>();
        let both = merged(keys(&[("a", "1"), ("b", "2")]), keys(&[("c", "3"), ("a", "9")]));
        assert_eq!(both, keys(&[("a", "9"), ("b", "2"), ("c", "3")]));
    }
}
