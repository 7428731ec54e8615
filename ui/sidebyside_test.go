package ui

import (
	"fmt"
	"slices"
	"testing"
)

func TestSideBySide(t *testing.T) {
	const patch = `--- a/f
+++ b/f
@@ -2,5 +2,6 @@
 two
-three
-four
+3
+4
+4.5
 five
-six
@@ -20 +21,0 @@
--- twenty
\ No newline at end of file
`
	var got []string
	for _, p := range sideBySide(patch) {
		got = append(got, fmt.Sprintf("%d:%s|%d:%s|%t|%s", p.Before.Number, p.Before.Text, p.After.Number, p.After.Text, p.Changed, p.About))
	}
	want := []string{
		"0:|0:|false|@@ -2,5 +2,6 @@",
		"2:two|2:two|false|",
		"3:three|3:3|true|",
		"4:four|4:4|true|",
		"0:|5:4.5|true|",
		"5:five|6:five|false|",
		"6:six|0:|true|",
		"0:|0:|false|@@ -20 +21,0 @@",
		"20:-- twenty|0:|true|",
		"0:|0:|false|No newline at end of file",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	for _, text := range []string{"", "\n", "@@", "@@ +", "\\", "+\n-"} {
		sideBySide(text) // and no panic
	}
}
