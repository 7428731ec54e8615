package ipc

import (
	"encoding/json"
	"testing"
)

func TestPath(t *testing.T) {
	for path, want := range map[Path]string{"": `""`, "/a b": `"/a b"`, "/é\u202e": "\"/é\u202e\"", "/\xff\xfe": `{"raw":"L//+"}`, "{": `"{"`} {
		b, err := json.Marshal(path)
		if err != nil || string(b) != want {
			t.Errorf("%q travels as %s, %v; want %s", path, b, err, want)
		}
		got := Path("before")
		if err := json.Unmarshal(b, &got); err != nil || got != path {
			t.Errorf("%q arrives as %q, %v", path, got, err)
		}
	}
	var p Path
	if err := json.Unmarshal([]byte(`7`), &p); err == nil {
		t.Error("a number is a path")
	}
}
