package mount

import (
	"testing"
)

func TestPlainSmoke(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Plain: true})
	f.write(m, "name", "content")
	res := f.close(m, true)
	t.Logf("%+v", res)
	m = f.open("k", &Options{Plain: true})
	res = f.close(m, true)
	t.Logf("%+v", res)
	if f.content("k", "name") != "content" {
		t.Error("x")
	}
}
