package ui

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// database makes a database with sqlite3.
func database(t testing.TB, sql string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	cmd := exec.Command("sqlite3", path)
	cmd.Stdin = strings.NewReader(sql)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSQLiteSchema(t *testing.T) {
	var many strings.Builder
	for _, page := range []string{"512", "4096", "65536"} {
		many.Reset()
		many.WriteString("pragma page_size=" + page + "; create table t(a int, b text); create index i on t(b); create view v as select a from t;\n")
		many.WriteString("create table long(c" + strings.Repeat("x", 9000) + " text);\n")
		for i := range 200 {
			many.WriteString("create table n" + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + "(x);\n")
		}
		b := database(t, many.String())
		got, err := sqliteSchema(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(page, err)
		}
		if len(got) != 204 {
			t.Errorf("pages of %s: %d objects", page, len(got))
		}
		found := map[string]string{}
		for _, o := range got {
			found[o.Type+" "+o.Name] = o.SQL
		}
		if found["index i"] != "CREATE INDEX i on t(b)" || found["table t"] != "CREATE TABLE t(a int, b text)" || len(found["table long"]) < 9000 || found["view v"] == "" {
			t.Errorf("pages of %s: %.300v", page, found)
		}
	}
}

func FuzzSQLiteSchema(f *testing.F) {
	f.Add(database(f, "create table t(a int, b text); create index i on t(b);"))
	f.Add(database(f, "pragma page_size=512; create table long(c"+strings.Repeat("x", 3000)+" text);"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		got, err := sqliteSchema(bytes.NewReader(b), int64(len(b)))
		if len(got) > maxSchema {
			panic(err)
		}
	})
}
