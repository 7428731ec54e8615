package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// A store of files that takes any options, in the command and in its server.
func init() {
	store.Register("lenient", func(ctx context.Context, _ store.URL) (store.Store, error) {
		return store.OpenBucket(ctx, store.URL{Scheme: "file"})
	})
}

const secret = "hunter2"

// commandsOf are the command lines of every command that takes a URL, of what it works
// on; url makes the URL of a workspace from its name.
func commandsOf(dir string, url func(name string) string) [][]string {
	return [][]string{
		{"import", dir, url("a")}, {"ls", url("")}, {"ls", "-l", url("")}, {"stat", url("a")}, {"tree", url("a")},
		{"cat", url("a"), "none"}, {"log", url("a")}, {"verify", url("a")}, {"cp", url("a"), url("b")},
		{"cp", url("a"), url("b")}, {"diff", url("a"), url("b")}, {"mv", url("b"), url("c")}, {"mv", url("b"), url("c")},
		{"export", url("a"), filepath.Join(dir, "out")}, {"export", url("none"), filepath.Join(dir, "out2")},
		{"exec", url("a"), "--", "sh", "-c", "echo x >x"}, {"exec", "--read-only", url("none"), "--", "true"},
		{"exec", url("a"), "--", "false"}, {"mount", url("a"), filepath.Join(dir, "no such directory")},
		{"doctor", "--quick", url("a")}, {"rm", url("a")}, {"rm", url("a")},
	}
}

// Options without "=", credentials in places where none belong, and tokens in an endpoint
// were once printed by errors and by doctor.
func TestNothingPrintsSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, url := range map[string]func(string) string{
		"options": func(name string) string {
			return "lenient://bucket" + dir + "/store/" + name + "?token=" + secret + "&endpoint=http://h/?t=" + secret + "&fips=" + secret + "@h"
		},
		"no value":        func(name string) string { return "lenient://bucket" + dir + "/" + name + "?" + secret },
		"file with host":  func(name string) string { return "file://user:" + secret + "@host/" + name },
		"no slashes":      func(name string) string { return "s3:user:" + secret + "@bucket/" + name },
		"credentials":     func(name string) string { return "s3://user:" + secret + "@bucket/" + name },
		"no at":           func(name string) string { return "s3://bucket:" + secret + "/" + name },
		"no scheme":       func(name string) string { return "user:" + secret + "@host/" + name },
		"web address":     func(name string) string { return "https://h/" + name + "?sig=" + secret },
		"option of s3":    func(name string) string { return "s3://bucket/" + name + "?token=" + secret },
		"option of gs":    func(name string) string { return "gs://bucket/" + name + "?token=" + secret },
		"option of azure": func(name string) string { return "azblob://container/" + name + "?token=" + secret },
		"option of files": func(name string) string { return "file://" + dir + "/" + name + "?token=" + secret },
	} {
		t.Run(name, func(t *testing.T) {
			for _, flag := range []string{"", "--json"} {
				for _, line := range commandsOf(t.TempDir(), url) {
					if flag != "" {
						line = append([]string{flag}, line...)
					}
					line = append([]string{"--run-dir", filepath.Join(dir, "run"), "--verbose"}, line...)
					var stdout, stderr bytes.Buffer
					code := run(line, &stdout, &stderr)
					for _, said := range []string{stdout.String(), stderr.String()} {
						if strings.Contains(said, secret) {
							t.Errorf("%q (exit code %d) prints\n%s", line, code, said)
						}
					}
					if name != "options" && code == 0 {
						t.Errorf("%q: exit code 0, so this URL tests no error", line)
					}
				}
			}
		})
	}
}
