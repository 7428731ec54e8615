package examples

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// codeBlock finds the code in a document, with its language.
var codeBlock = regexp.MustCompile("(?ms)^```(go|python|json|typescript)\n(.*?)^```$")

// The code in the guides is code that runs: each block stands in a program of
// examples/, whose tests and runs say whether it works.
func TestCodeInDocuments(t *testing.T) {
	sources := readSources(t)
	for document, least := range map[string]int{"README.md": 4, "docs/temporal.md": 5, "docs/migrate.md": 5} {
		text, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Fatal(err)
		}
		blocks := codeBlock.FindAllStringSubmatch(string(text), -1)
		if len(blocks) < least {
			t.Errorf("%s: %d blocks of code found", document, len(blocks))
		}
		for _, block := range blocks {
			if !slices.ContainsFunc(sources, func(source string) bool { return stands(source, block[2]) }) {
				t.Errorf("%s: this stands in no program of examples/:\n%s", document, block[2])
			}
		}
	}
}

// readSources returns the programs of examples/, without the indentation of lines.
func readSources(t *testing.T) []string {
	t.Helper()
	var sources []string
	err := filepath.WalkDir(filepath.Join(root, "examples"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".py", ".ts"}, filepath.Ext(path)) {
			return err
		}
		b, err := os.ReadFile(path)
		sources = append(sources, flat(string(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// stands reports whether the lines of a block are in a source, one behind the other.
func stands(source, block string) bool {
	lines := strings.TrimSpace(flat(block))
	return lines != "" && (strings.Contains(source, "\n"+lines+"\n") || strings.Contains(source, "`"+lines+"`\n"))
}

// flat takes the indentation from each line, since a block is shown without that
// of its surroundings.
func flat(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
