package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// bash replaces what follows the last ":" or "=" of the word, so that is what a
// completion has to be without. cobra's script does so for one of the two.
func TestBashWordBreaks(t *testing.T) {
	script := filepath.Join(t.TempDir(), "completion")
	var out, errs strings.Builder
	if code := run([]string{"completion", "bash"}, &out, &errs); code != 0 {
		t.Fatalf("code %d: %s", code, errs.String())
	}
	if err := os.WriteFile(script, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, breaks, typed string
		full, want          []string
	}{
		{"a path", ":=", "/ws/jo", []string{"/ws/job-1", "/ws/job-2"}, []string{"/ws/job-1", "/ws/job-2"}},
		{"a scheme", ":=", "s3://b/jo", []string{"s3://b/job-1", "s3://b/job-2"}, []string{"//b/job-1", "//b/job-2"}},
		{"an equals sign last", ":=", "s3://b/a=", []string{"s3://b/a=1"}, []string{"1"}},
		{"a colon last", ":=", "s3://b/a=1:", []string{"s3://b/a=1:x"}, []string{"x"}},
		{"no break at a colon", "=", "s3://b/a=1:", []string{"s3://b/a=1:x"}, []string{"1:x"}},
		{"no breaks", "", "s3://b/a=", []string{"s3://b/a=1"}, []string{"s3://b/a=1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// as the script's own __workdir-mount_process_completion_results does
			const body = `. "$1"; COMP_WORDBREAKS=$2; cur=$3; COMPREPLY=("${@:4}")
				__workdir-mount_handle_special_char "$cur" :
				__workdir-mount_handle_special_char "$cur" =
				printf '%s\n' "${COMPREPLY[@]}"`
			got, err := exec.Command("bash", append([]string{"-c", body, "bash", script, tt.breaks, tt.typed}, tt.full...)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if lines := strings.Split(strings.TrimSpace(string(got)), "\n"); !slices.Equal(lines, tt.want) {
				t.Errorf("%q, want %q", lines, tt.want)
			}
		})
	}
}

// A store that does not answer does not keep the shell.
func TestCompletionInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	never := make(chan []string)
	if got := inTime(ctx, func() []string { return <-never }); got != nil {
		t.Errorf("%q", got)
	}
}

// Every command that takes an argument can have it completed, and no other is in the
// table.
func TestArgumentsOfCommands(t *testing.T) {
	a := &app{}
	for _, cmd := range a.rootCommand().Commands() {
		_, known := arguments[cmd.Name()]
		takes := strings.ContainsAny(strings.TrimPrefix(cmd.Use, cmd.Name()), "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		if takes != known && cmd.Name() != "completion" && !cmd.Hidden {
			t.Errorf("%s: takes an argument: %v, in the table: %v", cmd.Use, takes, known)
		}
	}
}
