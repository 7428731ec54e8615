package ipc

import (
	"encoding/json"
	"unicode/utf8"
)

// Path is a path encoded in JSON, whose strings are UTF-8 (RFC 8259), while a path may have
// any bytes: one that is not UTF-8 is encoded in base64.
type Path string

// MarshalJSON implements json.Marshaler.
func (p Path) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(p)) {
		return json.Marshal(string(p))
	}
	return json.Marshal(rawPath{Raw: []byte(p)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Path) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var r rawPath
		err := json.Unmarshal(b, &r)
		*p = Path(r.Raw)
		return err
	}
	return json.Unmarshal(b, (*string)(p))
}

type rawPath struct {
	Raw []byte `json:"raw"`
}
