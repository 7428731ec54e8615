package wire

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

func TestErrorsSurviveTheWay(t *testing.T) {
	for _, k := range kinds {
		err := fmt.Errorf("put job: %w: more", k.err)
		got := DecodeError(EncodeError(err))
		if !errors.Is(got, k.err) || got.Error() != err.Error() {
			t.Errorf("%s: arrived as %v", k.name, got)
		}
		for _, other := range kinds {
			if other.err != k.err && errors.Is(got, other.err) != errors.Is(err, other.err) {
				t.Errorf("%s: arrived as %s too", k.name, other.name)
			}
		}
	}
}

func TestParticularsSurviveTheWay(t *testing.T) {
	err := DecodeError(EncodeError(fmt.Errorf("close: %w", &host.BusyError{Path: "/m", Processes: []host.Process{{PID: 7, Name: "sh", Use: "descriptor"}}})))
	var busy *host.BusyError
	if !errors.As(err, &busy) || busy.Path != "/m" || len(busy.Processes) != 1 || busy.Processes[0].PID != 7 {
		t.Errorf("busy arrived as %+v", busy)
	}
	err = DecodeError(EncodeError(&store.ConflictError{Key: "k", Want: "a", Have: "b", Between: []archive.Record{{ID: "id", Host: "h"}}, Further: 3}))
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Want != "a" || conflict.Have != "b" || conflict.Between[0].Host != "h" || conflict.Further != 3 {
		t.Errorf("conflict arrived as %+v", conflict)
	}
	err = DecodeError(EncodeError(&host.Error{What: "no /dev/fuse", Hint: "get one"}))
	var lack *host.Error
	if !errors.As(err, &lack) || lack.Hint != "get one" {
		t.Errorf("host error arrived as %+v", lack)
	}
	when := time.Date(2026, 5, 17, 12, 0, 0, 123456789, time.UTC)
	err = DecodeError(EncodeError(fmt.Errorf("close %w", &CommittedError{URL: "mem://b/k", Revision: "r", Record: archive.Record{
		ID: "id", Time: when, Origin: archive.Origin{Execution: "e", Attempt: 3}, Result: []byte("\xff\x00"), Dropped: true,
	}})))
	var committed *CommittedError
	if !errors.As(err, &committed) || committed.Revision != "r" || !committed.Record.Time.Equal(when) ||
		committed.Record.Origin.Attempt != 3 || string(committed.Record.Result) != "\xff\x00" || !committed.Record.Dropped {
		t.Errorf("committed arrived as %+v", committed)
	}
}

// A sentinel that is not in the table would become plain text on its way from the server to
// the client, and errors.Is would no longer find it.
func TestEverySentinelIsInTheTable(t *testing.T) {
	known := map[string]bool{}
	table, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	for dir, prefix := range map[string]string{".": "", "../host": "host.", "../../../store": "store.", "../../../archive": "archive."} {
		for _, name := range sentinels(t, dir) {
			known[prefix+name] = true
			if !strings.Contains(string(table), ", "+prefix+name+"}") {
				t.Errorf("%s%s is not in kinds", prefix, name)
			}
		}
	}
	for _, name := range sentinels(t, "../..") {
		if !known[name] && !known["host."+name] {
			t.Errorf("mount.%s is no error of this package or of host", name)
		}
	}
	if len(known) < 15 {
		t.Errorf("found %d sentinels only: %v", len(known), known)
	}
}

// sentinels lists the exported variables of a package whose names begin with Err.
func sentinels(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					if strings.HasPrefix(n.Name, "Err") {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}
