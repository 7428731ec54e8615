package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/workdir/workdir/mount"
)

// exitSchema is the exit code of a command in a script whose JSON is not as docs/cli.schema.json
// says.
const exitSchema = 99

// checkedMain is main, which holds all that a command prints with --json against the schema.
func checkedMain() {
	args := os.Args[1:]
	if !wantsJSON(args) || len(args) > 0 && args[0] == daemonName {
		main()
	}
	mount.Init()
	var out, errs bytes.Buffer
	code := run(args, io.MultiWriter(os.Stdout, &out), io.MultiWriter(os.Stderr, &errs))
	if err := checkJSON(args, out.String(), errs.String()); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		code = exitSchema
	}
	os.Exit(code)
}

// beside are the commands whose JSON goes to standard error, or may.
var beside = map[string]bool{"exec": true, "cat": true, "export": true}

// checkJSON checks the lines of JSON in what a command printed, and that a command that prints
// no JSON on standard output prints nothing else there.
func checkJSON(args []string, out, errs string) error {
	cmd, _, err := (&app{}).rootCommand().Find(args)
	if err != nil {
		return err
	}
	name := cmd.Name()
	isJSON := regexp.MustCompile(`(?m)^[\[{].*$`)
	for _, line := range isJSON.FindAllString(errs, -1) {
		def := name
		if strings.HasPrefix(line, `{"error":`) {
			def = "error"
		}
		if err := validate(def, line); err != nil {
			return err
		}
	}
	if out == "" || beside[name] && (!strings.HasPrefix(out, "{") || name == "cat") {
		return nil
	}
	for line := range strings.Lines(out) {
		if err := validate(name, line); err != nil {
			return err
		}
	}
	return nil
}

// schemaPath is docs/cli.schema.json, from whatever directory a script runs in.
func schemaPath() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../docs/cli.schema.json")
}

func validate(def, line string) error {
	schema, err := jsonschema.NewCompiler().Compile(schemaPath() + "#/$defs/" + def)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", def, err, line)
	}
	return nil
}

// Each command that prints a result has a schema, and a script in which it prints JSON.
func TestEveryCommandHasASchema(t *testing.T) {
	var scripts strings.Builder
	paths, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	for _, cmd := range (&app{}).rootCommand().Commands() {
		name := cmd.Name()
		if cmd.Hidden || name == "completion" || name == "ui" { // these print no result
			continue
		}
		if err := validate(name, `"not this"`); err == nil || !strings.Contains(err.Error(), "jsonschema validation failed") {
			t.Errorf("%s: %v", name, err)
		}
		if !regexp.MustCompile(`workdir-mount ` + name + ` [^|\n]*--json`).MatchString(scripts.String()) {
			t.Errorf("no script runs %s with --json", name)
		}
	}
}

// A schema that lets everything pass would hold nothing.
func TestSchemaRefuses(t *testing.T) {
	for def, line := range map[string]string{
		"rm":    `{"url":"file:///x"}`,
		"stat":  `{"url":"file:///x","size":1,"modTime":"2026-01-02T03:04:05+05:30","revision":"1"}`,
		"error": `{"error":{"code":0,"type":"other","message":"x"}}`,
		"ls":    `[{"name":"a","url":"file:///a","size":1,"modTime":"2026-01-02T03:04:05Z","revision":"1","more":1}]`,
	} {
		if validate(def, line) == nil {
			t.Errorf("%s: %s passes", def, line)
		}
	}
}

// A commit's id is called commitId, or after its role, as parentId. No name stands twice in one
// object, where only the last one would count.
func TestSchemaNames(t *testing.T) {
	text, err := os.ReadFile(schemaPath())
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, json.NewDecoder(bytes.NewReader(text)), "")
}

// checkNames reads one value, which is at path.
func checkNames(t *testing.T, d *json.Decoder, path string) {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	if token == "#/$defs/commitId" && !strings.HasSuffix(path, "Id/$ref") {
		t.Errorf("%s is a commit's id", path)
	}
	if _, isDelim := token.(json.Delim); !isDelim {
		return
	}
	seen := map[string]bool{}
	for d.More() {
		name := ""
		if token == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			name = fmt.Sprint(key)
			if seen[name] {
				t.Errorf("%s has %s twice", path, name)
			}
			seen[name] = true
		}
		checkNames(t, d, path+"/"+name)
	}
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
}
