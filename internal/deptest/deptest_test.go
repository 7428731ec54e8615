package deptest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the directory of the module.
const root = "../.."

// source is one Go file and what it imports.
type source struct {
	file    string
	pkg     string // relative to the module
	test    bool
	imports []string
}

func readSources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(p, d)
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s := source{file: rel, pkg: path.Dir(filepath.ToSlash(rel)), test: strings.HasSuffix(p, "_test.go")}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// skipDir leaves out hidden directories, data, and modules of their own.
func skipDir(p string, d fs.DirEntry) error {
	name := d.Name()
	if p == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "build" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// allowed reports whether a file may import a package.
func allowed(s source, name string) bool {
	if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	if strings.HasPrefix(name, "golang.org/x/sys/") {
		return true
	}
	r := table[s.pkg]
	if ours, ok := strings.CutPrefix(name, module+"/"); ok {
		return ours == s.pkg || matches(ours, r.ours) || s.test && matches(ours, r.tests)
	}
	if s.test && hasPrefix(name, testsMay) {
		return true
	}
	return hasPrefix(name, r.foreign)
}

func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		dir, all := strings.CutSuffix(p, "/...")
		if name == p || all && strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if name == p || strings.HasPrefix(name, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	sources := readSources(t)
	if len(sources) < 20 {
		t.Fatalf("found %d Go files under %s, which cannot be all", len(sources), root)
	}
	for _, s := range sources {
		if _, ok := table[s.pkg]; !ok {
			t.Errorf("%s: package %s is not in the table", s.file, s.pkg)
			continue
		}
		for _, name := range s.imports {
			if !allowed(s, name) {
				t.Errorf("%s: package %s may not import %s", s.file, s.pkg, name)
			}
		}
	}
}

// TestTableHasNoCycle sees to it that the arrows of the table point down only.
func TestTableHasNoCycle(t *testing.T) {
	const (
		visiting = 1
		done     = 2
	)
	state := map[string]int{}
	var visit func(pkg string, trail []string)
	visit = func(pkg string, trail []string) {
		trail = append(trail, pkg)
		switch state[pkg] {
		case visiting:
			t.Errorf("cycle: %s", strings.Join(trail, " -> "))
			return
		case done:
			return
		}
		state[pkg] = visiting
		for _, below := range table[pkg].ours {
			if !strings.HasSuffix(below, "/...") {
				visit(below, trail)
			}
		}
		state[pkg] = done
	}
	for pkg := range table {
		visit(pkg, nil)
	}
}

// A program that links the driver of one cloud links no SDK of another.
func TestOneCloudBringsNoOther(t *testing.T) {
	sdks := map[string]string{"s3": "github.com/aws/", "gs": "cloud.google.com/go/", "azure": "github.com/Azure/"}
	reach := func(from, sdk string) bool {
		seen := map[string]bool{}
		var visit func(pkg string) bool
		visit = func(pkg string) bool {
			if seen[pkg] {
				return false
			}
			seen[pkg] = true
			return slices.ContainsFunc(table[pkg].foreign, func(f string) bool { return strings.HasPrefix(f, sdk) }) ||
				slices.ContainsFunc(table[pkg].ours, visit)
		}
		return visit(from)
	}
	for driver := range sdks {
		for cloud, sdk := range sdks {
			if got := reach("store/drivers/"+driver, sdk); got != (cloud == driver) {
				t.Errorf("driver %s may link the SDK of %s: %v", driver, cloud, got)
			}
		}
	}
	for _, pkg := range []string{"store", "mount", "activity"} {
		for cloud, sdk := range sdks {
			if reach(pkg, sdk) {
				t.Errorf("package %s may link the SDK of %s", pkg, cloud)
			}
		}
	}
}

func TestAllowed(t *testing.T) {
	tests := []struct {
		name string
		s    source
		imp  string
		want bool
	}{
		{"standard library", source{pkg: "fs"}, "os/exec", true},
		{"tree knows no FUSE", source{pkg: "fs"}, "github.com/hanwen/go-fuse/v2/fuse", false},
		{"archive knows no store", source{pkg: "archive"}, module + "/store", false},
		{"mount knows no Temporal", source{pkg: "mount"}, "go.temporal.io/sdk/activity", false},
		{"adapter knows the tree", source{pkg: "fs/fusefs"}, module + "/fs", true},
		{"test library in a test", source{pkg: "fs", test: true}, "pgregory.net/rapid", true},
		{"test library elsewhere", source{pkg: "fs"}, "pgregory.net/rapid", false},
		{"name that only begins alike", source{pkg: "archive"}, "github.com/klauspost/pgzipper", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := allowed(tt.s, tt.imp); got != tt.want {
				t.Errorf("allowed(%s, %s) = %v, want %v", tt.s.pkg, tt.imp, got, tt.want)
			}
		})
	}
}
