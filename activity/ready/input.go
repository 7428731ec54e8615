package ready

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
)

// strict makes an activity from a function that accepts only valid input. An invalid input is
// the activity's error: the SDK would retry an input that it cannot decode for ever.
func strict[In, Out any](fn func(context.Context, In) (Out, error)) func(context.Context, input[In]) (Out, error) {
	return func(ctx context.Context, in input[In]) (out Out, err error) {
		if err := inputError(in.wrong); err != nil {
			return out, err
		}
		return fn(ctx, in.value)
	}
}

// input is a decoded JSON object, or the decoding error.
type input[In any] struct {
	value In
	wrong error
}

// UnmarshalJSON never fails.
func (in *input[In]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	in.wrong = d.Decode(&in.value)
	return nil
}

// inputError is the error for an undecodable input; wrong is the reason, or nil.
func inputError(wrong error) error {
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

// jsonType names the JSON type that decodes into a Go type.
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
