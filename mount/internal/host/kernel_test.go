package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAllowsOthers(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "fuse.conf")
	for text, want := range map[string]bool{
		"":                                  false,
		"# user_allow_other\n":              false,
		"mount_max = 10\nuser_allow_other":  true,
		"user_allow_otherwise\n":            false,
		"  user_allow_other  \n# comment\n": true,
	} {
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := AllowsOthers(conf); got != want {
			t.Errorf("allowsOthers(%q) = %v", text, got)
		}
	}
	if AllowsOthers(conf + ".missing") {
		t.Error("a missing file allows others")
	}
}
