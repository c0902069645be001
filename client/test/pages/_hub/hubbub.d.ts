// Where a page finds the client, seen from the page: relative, because a hub can be mounted under any path.
export * from "../../../../src/hubbub/gateway/static/hubbub.js";
