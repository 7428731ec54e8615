// Package ready has ready-made activities, which workflows of any language call by name with
// one JSON object: [Exec] runs a command in a workspace; [List], [Delete] and [Copy] manage
// workspaces like files. docs/activities.md describes the JSON.
//
// They are ordinary activities on top of package activity, whose plugin the worker needs.
package ready
