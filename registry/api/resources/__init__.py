"""The routes of the API, a module for each area: parse, call the domain's service, give a reply."""
