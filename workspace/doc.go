// Package workspace does things to whole workspaces at rest, without mounting them:
// it exports, imports, lists, compares and verifies what their archives hold.
package workspace
