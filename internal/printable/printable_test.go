package printable

import "testing"

func TestName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"", ""}, {"name", "name"}, {"a b", "a b"}, {"é日本", "é日本"}, {`it's`, `it's`},
		{`a"b`, `"a\"b"`}, {`a\b`, `"a\\b"`}, {"a\nb", `"a\nb"`}, {"a\tb", `"a\tb"`},
		{"\x1b[31mred", `"\x1b[31mred"`}, {"gpj\u202e.exe", `"gpj\u202e.exe"`}, {"\xff", `"\xff"`},
		{"\u200b", `"\u200b"`}, {"\u0085", `"\u0085"`}, {"\U000e0041", `"\U000e0041"`}, {"\ufffd", "\ufffd"},
	}
	for _, tt := range tests {
		if got := Name(tt.name); got != tt.want {
			t.Errorf("Name(%q) = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""}, {"two\n\tlines", "two\n\tlines"}, {`a"b\c é`, `a"b\c é`},
		{"\x1b]0;title\a", `\x1b]0;title\a`}, {"a\rb", `a\rb`}, {"gpj\u202e.exe", `gpj\u202e.exe`},
		{"\xff\xfe", `\xff\xfe`}, {"\u009b1m", `\u009b1m`}, {"x\x00", `x\x00`}, {"\ufffd", "\ufffd"},
	}
	for _, tt := range tests {
		if got := Text(tt.text); got != tt.want {
			t.Errorf("Text(%q) = %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestBytes(t *testing.T) {
	tests := []struct {
		in   int64
		want string
	}{
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{3565158, "3.4 MiB"},
		{1<<30 + 1<<29, "1.5 GiB"},
		{1<<63 - 1, "8.0 EiB"},
	}
	for _, test := range tests {
		if got := Bytes(test.in); got != test.want {
			t.Errorf("%d bytes are %q, want %q", test.in, got, test.want)
		}
	}
}
