//! The phone number within a profile: three fields that come from WeChat alone, and come and go together.

use super::{Field, Patch, Profile, Source, Value};
use crate::model::PhoneNumber;

impl Patch {
    /// The number that WeChat has told us, in the place of any other.
    pub fn phone(number: &PhoneNumber) -> Self {
        let forms = [
            (Field::PhoneNumber, number.whole()),
            (Field::PurePhoneNumber, number.pure()),
            (Field::CountryCode, number.country()),
        ];
        let held = |text: &str| (Some(Value::Text(text.to_owned())), Source::WeChat);
        Self { wishes: forms.into_iter().map(|(field, text)| (field, held(text))).collect(), ..Self::default() }
    }

    /// No number any more.
    pub fn no_phone() -> Self {
        let fields = [Field::PhoneNumber, Field::PurePhoneNumber, Field::CountryCode];
        Self { wishes: fields.into_iter().map(|field| (field, (None, Source::WeChat))).collect(), ..Self::default() }
    }
}

impl Profile {
    /// The phone number, where there is one.
    pub fn phone(&self) -> Option<PhoneNumber> {
        let text = |field| match &self.fields.get(&field)?.value {
            Value::Text(text) => Some(text.as_str()),
            Value::Number(_) => None,
        };
        let (whole, pure) = (text(Field::PhoneNumber)?, text(Field::PurePhoneNumber)?);
        PhoneNumber::parse(whole, pure, text(Field::CountryCode)?).ok()
    }
}
