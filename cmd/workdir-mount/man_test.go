package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each command has a page that groff formats without a warning.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	root := (&app{}).rootCommand()
	if err := writeManPages(root, dir); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range root.Commands() {
		path := filepath.Join(dir, pageName(cmd)+".1")
		if _, err := os.Stat(path); (err == nil) == cmd.Hidden {
			t.Errorf("%s: hidden %v, its page: %v", cmd.Name(), cmd.Hidden, err)
		}
	}
	pages, err := filepath.Glob(dir + "/*.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		groff := exec.Command("groff", "-man", "-Tascii", "-ww", "-P-cbou", path)
		var warnings strings.Builder
		groff.Stderr = &warnings
		out, err := groff.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("%s: %v: %s", path, err, warnings.String())
		}
		if text := string(out); !strings.Contains(text, "SYNOPSIS") || strings.Contains(text, `\-`) {
			t.Errorf("%s:\n%s", path, text)
		}
	}
}

// The page of the program and docs/cli.md say the same of the exit codes.
func TestExitMeanings(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Exit codes\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| ([0-9][0-9 +n]*) \| (.*) \|$`).FindAllStringSubmatch(strings.ReplaceAll(rest, "`", ""), -1)
	if len(rows) != len(exitMeanings) {
		t.Fatalf("docs/cli.md has %d exit codes, and the manual %d", len(rows), len(exitMeanings))
	}
	for k, row := range rows {
		if got := exitMeanings[k]; got[0] != row[1] || got[1] != row[2] {
			t.Errorf("the manual: %q\ndocs/cli.md: %q", got, row[1:])
		}
	}
}
