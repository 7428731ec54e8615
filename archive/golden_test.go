package archive

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var writeGolden = flag.Bool("golden", false, "write what testdata's new archives hold; those that have a list keep it")

// Archives of other programs, made by testdata/make.sh, and what they hold.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil || len(archives) < 20 {
		t.Fatal(archives, err)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			p, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var warned []string
			tree, log, err := load(t, p, &ReaderOptions{Warn: func(w Warning) { warned = append(warned, "warning: "+w.String()) }})
			if log != nil || err != nil {
				t.Fatal(log, err)
			}
			got := dump(t, tree)
			all := append(warned, got...)
			wantSame(t, goldenList(t, strings.TrimSuffix(path, ".tar.gz")+".txt", all), all)
			again, _ := mustLoad(t, pack(t, tree, testLog(0), nil), nil)
			wantSame(t, packed(got), dump(t, again))
		})
	}
}

// goldenList reads the list of an archive; with -golden it is got if there is none.
func goldenList(t *testing.T, path string, got []string) []string {
	t.Helper()
	p, err := os.ReadFile(path)
	if os.IsNotExist(err) && *writeGolden {
		p = []byte(strings.Join(got, "\n") + "\n")
		err = os.WriteFile(path, p, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
}
