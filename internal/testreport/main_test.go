package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const (
		pass    = `{"Action":"output","Package":"p","Test":"TestA","Output":"fine\n"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
		fail    = `{"Action":"output","Package":"p","Test":"TestB","Output":"broken\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestB"}` + "\n"
		skip    = `{"Action":"output","Package":"p","Test":"TestC","Output":"not here\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestC"}` + "\n"
		ok      = `{"Action":"pass","Package":"p","Elapsed":1}` + "\n"
		broken  = `{"Action":"fail","Package":"p","Elapsed":1}` + "\n"
		hung    = `{"Action":"output","Package":"p","Test":"TestD","Output":"panic: timeout\n"}` + "\n"
		nothing = `{"Action":"skip","Package":"p"}` + "\n"
		build   = `{"Action":"build-output","ImportPath":"p","Output":"does not compile\n"}` + "\n"
	)
	tests := []struct {
		name, in string
		code     int
		want     []string
		not      string
	}{
		{"passed", pass + ok, 0, []string{"1 passed, 0 failed, 0 skipped", "ok  \tp"}, "fine"},
		{"failed", pass + fail + broken, 1, []string{"broken\n", "failed: p", "1 passed, 1 failed"}, "fine"},
		{"skipped", pass + skip + ok, 1, []string{"not here\n", "skipped tests count as failures", "1 skipped"}, ""},
		{"never ended", pass + hung + broken, 1, []string{"panic: timeout\n", "failed: p"}, ""},
		{"does not build", build + broken, 1, []string{"does not compile\n"}, ""},
		{"package without tests", pass + nothing, 0, []string{"1 passed"}, ""},
		{"no test at all", nothing, 1, []string{"0 passed"}, ""},
		{"not of go test", "bash: go: not found\n", 1, []string{"bash: go: not found\n"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := &report{out: &out, output: map[string][]string{}}
			if err := r.read(strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			if code := r.finish(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, out.String())
				}
			}
			if tt.not != "" && strings.Contains(out.String(), tt.not) {
				t.Errorf("the report has %q:\n%s", tt.not, out.String())
			}
		})
	}
}
