package ready

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestEveryFieldOfTheReadyMadeActivitiesIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/activities.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for activity, types := range map[string][]any{
		Exec:   {ExecInput{}, ExecResult{}, ExecChanges{}},
		List:   {ListInput{}, ListResult{}, Listed{}},
		Delete: {DeleteInput{}, DeleteResult{}},
		Copy:   {CopyInput{}, CopyResult{}},
		Prune:  {PruneInput{}, PruneResult{}, Pruned{}},
	} {
		_, section, found := strings.Cut(doc, "\n### "+activity+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		if !found {
			t.Errorf("docs/activities.md has no section %s", activity)
		}
		for _, v := range types {
			for f := range reflect.TypeOf(v).Fields() {
				if !f.IsExported() {
					continue
				}
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if !strings.Contains(section, "`"+name+"`") {
					t.Errorf("docs/activities.md, %s: no %s of %T", activity, name, v)
				}
			}
		}
	}
}
