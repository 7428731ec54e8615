// Package wdtest is for unit tests of activities that work in workspaces: a store of the
// test's own, workspaces filled from maps of files, and their content back as maps.
package wdtest
