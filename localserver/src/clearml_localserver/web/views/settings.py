"""Settings: access keys, people, the look of the pages, and where the server keeps its data.

All of it is done by the API, so its roles hold: everybody sees their own keys, those who may change things make and
revoke their own, and admins those of others and the people too.
"""

from __future__ import annotations

from importlib.metadata import version

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.rules import roles
from clearml_localserver.web.form_fields import Choice
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.themes import THEMES, with_theme
from clearml_localserver.web.views.session import own_path

PAGE = "/settings"
ROLES = {roles.GUEST: "guest: reads", roles.USER: "user: also changes", roles.ADMIN: "admin: also manages people"}


def overview(visit: Visit) -> Response:
    """Show all settings; after an access key was made, that key with its secret, this once."""
    mark, user = visit.query.get("made", ""), visit.identity.user if visit.identity else ""
    return _show(visit, made=visit.site.made_keys.take(user, mark) if mark else None)


def set_theme(visit: Visit) -> Response:
    """Keep whether the person wants the pages light, dark or as the system is."""
    form = visit.form()
    theme = form.get("theme", "") if form.get("theme") in THEMES else ""
    visit.call("users.set_preferences", {"preferences": {"localserver.theme": theme}})
    response = visit.redirect(own_path(form.get("back", PAGE)), "saved")
    return with_theme(response, theme)


def create_key(visit: Visit) -> Response:
    """Make an access key; the page that this leads to shows its secret, so that a reload makes no second key."""
    form = visit.form()
    data = {"label": form.get("label", "").strip()[:200]} | _role(form)
    if form.get("user"):
        data["user"] = form["user"]
    made = visit.call("auth.create_credentials", data)["credentials"]
    mark = visit.site.made_keys.keep(visit.identity.user if visit.identity else "", made)
    return visit.redirect(f"{PAGE}?made={mark}")


def edit_key(visit: Visit) -> Response:
    """Show the form of an access key."""
    return _key_form(visit, _key(visit))


def save_key(visit: Visit) -> Response:
    """Rename an access key, and set what it may do."""
    key, form = _key(visit), visit.form()
    data: Json = {"access_key": key["access_key"]}
    if (label := form.get("label", "").strip()[:200]) != key["label"]:
        data["label"] = label
    if form.get("role", key["role"]) != key["role"]:
        data |= _role(form)
    try:
        visit.call("auth.edit_credentials", data)
    except ApiError as error:
        return _key_form(visit, key | form, code=400, problem=error.msg)
    return visit.redirect(PAGE, "saved")


def ask_to_revoke(visit: Visit) -> Response:
    """Ask before an access key is revoked."""
    visit.require_change()
    key = _key(visit)
    text = "Agents, scripts and people that use it are refused from then on. This cannot be undone."
    if visit.identity and key["access_key"] == visit.identity.access_key:
        text = f"You are logged in with it: this session ends too. {text}"
    return _confirm(visit, "Revoke", key["label"] or key["access_key"], text)


def revoke(visit: Visit) -> Response:
    """Revoke an access key."""
    visit.call("auth.revoke_credentials", {"access_key": visit.argument("key")})
    return visit.redirect(PAGE, "revoked")


def create_person(visit: Visit) -> Response:
    """Make a person, who gets access keys afterwards."""
    form = visit.form()
    name, email = form.get("name", "").strip(), form.get("email", "").strip()
    if not name:
        raise ApiError(400, 0, "A person needs a name")
    company = visit.call("users.get_current_user", {})["user"]["company"]["id"]
    visit.call("auth.create_user", {"name": name, "email": email, "company": company} | _role(form))
    return visit.redirect(PAGE, "created")


def edit_person(visit: Visit) -> Response:
    """Show the form of a person."""
    return _person_form(visit, _person(visit))


def save_person(visit: Visit) -> Response:
    """Rename a person, and set their role."""
    person, form = _person(visit), visit.form()
    name, role = str(form.get("name", person["name"])).strip(), form.get("role", person["role"])
    try:
        if role != person["role"]:
            visit.call("auth.edit_user", {"user": person["id"], "role": role})
        if name != person["name"]:
            visit.call("users.update", {"user": person["id"], "name": name})
    except ApiError as error:
        return _person_form(visit, person | form, code=400, problem=error.msg)
    return visit.redirect(PAGE, "saved")


def ask_to_delete(visit: Visit) -> Response:
    """Ask before a person is deleted, and count the keys that go with them."""
    visit.require_change()
    person = _person(visit)
    count = len(visit.call("auth.get_credentials", {"user": person["id"]})["credentials"])
    keys = f"{count} access {'key' if count == 1 else 'keys'}"
    text = f"Their {keys} and sessions end at once. What they have made stays. This cannot be undone."
    return _confirm(visit, "Delete", person["name"], text)


def delete_person(visit: Visit) -> Response:
    """Delete a person with their access keys."""
    visit.call("users.delete", {"user": visit.argument("user")})
    return visit.redirect(PAGE, "delete")


def _is_admin(visit: Visit) -> bool:
    return visit.identity is not None and roles.reaches(visit.identity.role, roles.ADMIN)


def _role(form: dict[str, str]) -> Json:
    return {"role": form["role"]} if form.get("role") else {}


def _offered(visit: Visit, chosen: str = "") -> dict[str, str]:
    """Return the roles that the person may give, with what they mean; the present one too."""
    role = visit.identity.role if visit.identity else ""
    fine = {name: words for name, words in ROLES.items() if roles.reaches(role, name)}
    return ({chosen: chosen} if chosen and chosen not in fine else {}) | fine


def _people(visit: Visit) -> list[Json]:
    if not _is_admin(visit):
        return [visit.call("users.get_current_user", {})["user"]]
    query = {"only_fields": ["id", "name", "role", "created"], "order_by": ["name"]}
    people: list[Json] = visit.call("users.get_all_ex", query)["users"]
    return people


def _keys(visit: Visit) -> list[Json]:
    asked = {"all_users": True} if _is_admin(visit) else {}
    keys: list[Json] = visit.call("auth.get_credentials", asked)["credentials"]
    return keys


def _key(visit: Visit) -> Json:
    visit.require_change()
    wanted = visit.argument("key")
    for key in _keys(visit):
        if key["access_key"] == wanted:
            return key
    raise ApiError(404, 0, f"There is no access key {wanted}, or it is another person's")


def _person(visit: Visit) -> Json:
    visit.require_change()
    wanted = visit.argument("user")
    for person in _people(visit):
        if person["id"] == wanted:
            return person
    raise ApiError(404, 0, f"There is no person {wanted}, or only admins may see them")


def _show(visit: Visit, made: Json | None) -> Response:
    own, people = visit.site.settings, _people(visit)
    return visit.render(
        "settings_overview.html",
        section=PAGE,
        me=visit.identity,
        is_admin=_is_admin(visit),
        people=people,
        names={person["id"]: person["name"] for person in people},
        keys=_keys(visit),
        made=made,
        roles=_offered(visit),
        data=own.data,
        addresses={"API": own.api_url, "Web pages": own.web_url, "Files": own.files_url},
        server=visit.call("server.info", {}),
        version=version("clearml-localserver"),
    )


def _key_form(visit: Visit, key: Json, *, code: int = 200, problem: str = "") -> Response:
    fields = [
        Choice("label", "Label", key["label"]),
        Choice("role", "May do at most", key["role"], _offered(visit, key["role"])),
    ]
    title = f"Access key {visit.argument('key')}"
    return visit.render("settings_form.html", code=code, section=PAGE, title=title, fields=fields, problem=problem)


def _person_form(visit: Visit, person: Json, *, code: int = 200, problem: str = "") -> Response:
    fields = [Choice("name", "Name", person["name"])]
    if _is_admin(visit):
        fields.append(Choice("role", "Role", person["role"], _offered(visit, person["role"])))
    title = "Edit person"
    return visit.render("settings_form.html", code=code, section=PAGE, title=title, fields=fields, problem=problem)


def _confirm(visit: Visit, title: str, name: str, text: str) -> Response:
    return visit.render("settings_confirm.html", section=PAGE, title=title, name=name, text=text)
