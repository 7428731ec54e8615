package activity

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
)

// UnmarshalJSON keeps what is wrong with the input for the activity to tell: the SDK
// would have an input that it cannot decode tried again for ever.
func (in *ExecInput) UnmarshalJSON(text []byte) error {
	type plain ExecInput
	in.wrong = strictJSON(text, (*plain)(in))
	return nil
}

// UnmarshalJSON is as that of ExecInput.
func (in *ListInput) UnmarshalJSON(text []byte) error {
	type plain ListInput
	in.wrong = strictJSON(text, (*plain)(in))
	return nil
}

// UnmarshalJSON is as that of ExecInput.
func (in *DeleteInput) UnmarshalJSON(text []byte) error {
	type plain DeleteInput
	in.wrong = strictJSON(text, (*plain)(in))
	return nil
}

// UnmarshalJSON is as that of ExecInput.
func (in *CopyInput) UnmarshalJSON(text []byte) error {
	type plain CopyInput
	in.wrong = strictJSON(text, (*plain)(in))
	return nil
}

// checkDecoded is the error for an input that strictJSON did not take; wrong is its
// error, or nil.
func checkDecoded(wrong error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case wrong == nil:
		return nil
	case errors.As(wrong, &mismatch) && mismatch.Field != "":
		return badInput("%s: it is of the JSON type %s, and %s is needed", mismatch.Field, mismatch.Value, jsonType(mismatch.Type))
	case errors.As(wrong, &mismatch):
		return badInput("the input is of the JSON type %s, and an object is needed", mismatch.Value)
	}
	return badInput("the input: %s", strings.TrimPrefix(wrong.Error(), "json: "))
}

// jsonType names what decodes into a Go type.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of strings"
	case reflect.Map:
		return "an object of strings"
	}
	return "a number"
}
