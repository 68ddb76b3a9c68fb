"""Every word the shop says, English and German side by side."""

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "shop.name": ("Marigold Rewards", "Marigold Prämien"),
    "shop.claim": ("Small and big joys, for the points you earned.", "Kleine und große Freuden für deine Punkte."),
    "nav.skip": ("Skip to content", "Zum Inhalt springen"),
    "nav.main": ("Shop", "Shop"),
    "nav.back": ("Back to the platform", "Zurück zur Plattform"),
    "nav.language": ("Language", "Sprache"),
    "nav.points": ("Your points", "Deine Punkte"),
    "points.unit": ("points", "Punkte"),
    "points.one": ("{points} points", "{points} Punkte"),
    "hello": ("Hello {name},", "Hallo {name},"),
    "hello.lead": ("what would you like to treat yourself to?", "womit möchtest du dich belohnen?"),
    "balance.label": ("Yours to spend", "Zum Einlösen bereit"),
    "catalogue.title": ("Rewards", "Prämien"),
    "catalogue.redeem": ("Redeem", "Einlösen"),
    "catalogue.redeem.what": ("{reward} for {points} points", "{reward} für {points} Punkte"),
    "catalogue.short": ("{points} points to go", "Noch {points} Punkte"),
    "catalogue.busy": ("One moment …", "Einen Moment …"),
    "review.title": ("Redeem this reward?", "Diese Prämie einlösen?"),
    "review.left": ("Left afterwards", "Danach noch übrig"),
    "review.short": (
        "You are {points} points short. You can try all the same: points may have come in meanwhile.",
        "Dir fehlen noch {points} Punkte. Du kannst es trotzdem versuchen: Vielleicht sind inzwischen welche"
        " dazugekommen.",
    ),
    "review.confirm": ("Redeem {points} points", "{points} Punkte einlösen"),
    "orders.title": ("Your latest orders", "Deine letzten Bestellungen"),
    "order.title": ("Order {number}", "Bestellung {number}"),
    "order.placed": ("Placed on {time}", "Aufgegeben am {time}"),
    "order.steps": ("What happened", "Was geschehen ist"),
    "order.balance": ("Your points now", "Deine Punkte jetzt"),
    "order.more": ("Back to the rewards", "Zurück zu den Prämien"),
    "order.again": ("Check again", "Erneut nachsehen"),
    "order.attempts": ("{attempts} attempts", "{attempts} Versuche"),
    "order.description": ("Redemption for {reward}", "Einlösung für {reward}"),
    # How an order came out
    "outcome.pending.title": ("We are still settling this", "Wir klären das noch"),
    "outcome.pending.text": (
        "The platform has not answered yet. You need not do anything: we keep asking, and your points are either"
        " spent on this reward or given back. You will not be charged twice.",
        "Die Plattform hat noch nicht geantwortet. Du musst nichts tun: Wir fragen weiter nach, und deine Punkte werden"
        " entweder für diese Prämie eingelöst oder zurückgegeben. Doppelt abgebucht wird nichts.",
    ),
    "outcome.pending.short": ("Being settled", "In Klärung"),
    "outcome.fulfilled.title": ("It’s yours!", "Viel Freude damit!"),
    "outcome.fulfilled.text": (
        "Your reward is on its way, and your points have been deducted.",
        "Deine Prämie ist auf dem Weg, die Punkte sind abgebucht.",
    ),
    "outcome.fulfilled.short": ("On its way", "Unterwegs"),
    "outcome.out_of_stock.title": ("Sadly sold out", "Leider ausverkauft"),
    "outcome.out_of_stock.text": (
        "Somebody was faster: our warehouse has just run out of it. We gave your points back at once.",
        "Da war jemand schneller: Unser Lager ist gerade leer geworden. Deine Punkte hast du sofort zurückbekommen.",
    ),
    "outcome.out_of_stock.short": ("Sold out, points returned", "Ausverkauft, Punkte zurück"),
    "outcome.insufficient.title": ("Not quite enough points yet", "Noch nicht genug Punkte"),
    "outcome.insufficient.text": (
        "This reward costs more points than you have just now. Nothing was deducted, and it will wait for you.",
        "Diese Prämie kostet mehr Punkte, als du gerade hast. Es wurde nichts abgebucht, und sie wartet auf dich.",
    ),
    "outcome.insufficient.short": ("Not enough points", "Zu wenige Punkte"),
    "outcome.refused.title": ("The platform declined this order", "Die Plattform hat diese Bestellung abgelehnt"),
    "outcome.refused.text": (
        "Nothing was deducted. Please start again from the platform.",
        "Es wurde nichts abgebucht. Bitte beginne auf der Plattform noch einmal.",
    ),
    "outcome.refused.short": ("Declined", "Abgelehnt"),
    "outcome.cancelled.title": ("We had to let go of this order", "Wir mussten diese Bestellung abbrechen"),
    "outcome.cancelled.text": (
        "The platform could not be reached in time. Your points are untouched; please try again.",
        "Die Plattform war nicht rechtzeitig zu erreichen. Deine Punkte sind unberührt, versuch es gern noch einmal.",
    ),
    "outcome.cancelled.short": ("Cancelled, no points used", "Abgebrochen, keine Punkte verwendet"),
    "outcome.expired.title": ("That took too long", "Das hat zu lange gedauert"),
    "outcome.expired.text": (
        "The hold on your points ended before the order was complete. You have them back; please try again.",
        "Die Reservierung deiner Punkte ist abgelaufen. Du hast sie wieder, versuch es gern noch einmal.",
    ),
    "outcome.expired.short": ("Expired, points returned", "Abgelaufen, Punkte zurück"),
    # What happened on the way
    "step.placed.ok": ("We wrote your order down", "Wir haben deine Bestellung notiert"),
    "step.hold.ok": ("The platform put your points aside", "Die Plattform hat deine Punkte reserviert"),
    "step.hold.refused": ("The platform did not hold the points", "Die Plattform hat die Punkte nicht reserviert"),
    "step.hold.no_answer": ("We asked for a hold and heard nothing", "Auf die Reservierung kam keine Antwort"),
    "step.stock.ok": ("Our warehouse has it and set it aside", "Unser Lager hat sie und legt sie zurück"),
    "step.stock.out_of_stock": ("Our warehouse has none left", "Unser Lager hat keine mehr"),
    "step.confirm.ok": ("The points were spent on your reward", "Die Punkte wurden für deine Prämie eingelöst"),
    "step.confirm.refused": ("The platform did not take the points", "Die Plattform hat die Punkte nicht abgebucht"),
    "step.confirm.no_answer": ("We confirmed and heard nothing", "Auf die Bestätigung kam keine Antwort"),
    "step.rollback.ok": ("The points were given back to you", "Du hast die Punkte zurückbekommen"),
    "step.rollback.refused": ("There was nothing to give back", "Es gab nichts zurückzugeben"),
    "step.rollback.no_answer": ("We gave them back and heard nothing", "Auf die Rückgabe kam keine Antwort"),
    "step.event.ok": (
        "The platform told us that these points are free again",
        "Die Plattform hat uns gemeldet, dass diese Punkte wieder frei sind",
    ),
    "step.ask.ok": ("We asked how the order stands", "Wir haben nachgefragt, wie es steht"),
    "step.ask.refused": ("The platform has no such order yet", "Die Plattform kennt die Bestellung noch nicht"),
    "step.ask.no_answer": ("We asked how it stands and heard nothing", "Auf unsere Nachfrage kam keine Antwort"),
    # What can go wrong
    "problem.continue": ("Continue in the shop", "Im Shop weitermachen"),
    "problem.used.title": ("This link has been used already", "Dieser Link wurde schon benutzt"),
    "problem.used.text": (
        "For your safety each link opens the shop only once. Go back to the platform and press “Redeem” again,"
        " and you get a fresh one.",
        "Zu deiner Sicherheit öffnet jeder Link den Shop nur einmal. Geh zurück zur Plattform und klicke noch einmal"
        " auf „Einlösen“, dann bekommst du einen neuen.",
    ),
    "problem.expired.title": ("This link has expired", "Dieser Link ist abgelaufen"),
    "problem.expired.text": (
        "Links to the shop are valid for a moment only. Go back to the platform and press “Redeem” again.",
        "Links zum Shop gelten nur einen Moment lang. Geh zurück zur Plattform und klicke noch einmal auf „Einlösen“.",
    ),
    "problem.invalid.title": ("This link does not open the shop", "Dieser Link öffnet den Shop nicht"),
    "problem.invalid.text": (
        "We could not make sure that it comes from the platform. Go back there and press “Redeem”.",
        "Wir konnten nicht feststellen, dass er von der Plattform kommt. Geh dorthin zurück und klicke auf „Einlösen“.",
    ),
    "problem.later.title": ("We cannot reach the platform", "Wir erreichen die Plattform nicht"),
    "problem.later.text": (
        "So we cannot let you in just now. Your points are safe. Please try again in a minute.",
        "Deshalb können wir dich gerade nicht hereinlassen. Deine Punkte sind sicher. Versuch es bitte gleich"
        " noch einmal.",
    ),
    "problem.no_session.title": ("Come in through the platform", "Komm über die Plattform herein"),
    "problem.no_session.text": (
        "The shop knows you by the platform. Sign in there and press “Redeem”, and you are back here with your points.",
        "Der Shop kennt dich über die Plattform. Melde dich dort an und klicke auf „Einlösen“, dann bist du mit deinen"
        " Punkten wieder hier.",
    ),
    "problem.not_found.title": ("Page not found", "Seite nicht gefunden"),
    "problem.not_found.text": (
        "The page you are looking for does not exist, or it is not yours to see.",
        "Diese Seite gibt es nicht, oder sie ist nicht für dich bestimmt.",
    ),
    "problem.form.title": ("That form is no longer valid", "Dieses Formular gilt nicht mehr"),
    "problem.form.text": (
        "Nothing was ordered. Go back to the rewards and choose again.",
        "Es wurde nichts bestellt. Geh zurück zu den Prämien und wähle noch einmal.",
    ),
    "problem.other_order.title": (
        "That form was used for another order",
        "Dieses Formular gehört zu einer anderen Bestellung",
    ),
    "problem.other_order.text": (
        "Nothing new was ordered. Go back to the rewards and choose again.",
        "Es wurde nichts Neues bestellt. Geh zurück zu den Prämien und wähle noch einmal.",
    ),
    "problem.internal.title": ("That was our mistake", "Das war unser Fehler"),
    "problem.internal.text": (
        "Something went wrong in the shop. If you were ordering, the order is looked after. Please try again.",
        "Im Shop ist etwas schiefgegangen. Falls du gerade bestellt hast, kümmern wir uns darum. Versuch es bitte noch"
        " einmal.",
    ),
    # What there is to have
    "reward.trees.name": ("Five trees", "Fünf Bäume"),
    "reward.trees.text": ("Planted in your name in the Harz mountains.", "In deinem Namen gepflanzt, im Harz."),
    "reward.coffee.name": ("Coffee for two", "Kaffee zu zweit"),
    "reward.coffee.text": (
        "At any of forty small roasters near you.",
        "In einer von vierzig Röstereien in deiner Nähe.",
    ),
    "reward.book.name": ("A book of your choice", "Ein Buch nach Wahl"),
    "reward.book.text": ("From your bookshop round the corner.", "Aus der Buchhandlung um die Ecke."),
    "reward.bouquet.name": ("Seasonal bouquet", "Strauß der Saison"),
    "reward.bouquet.text": ("Tied by hand and brought to your door.", "Von Hand gebunden, bis an die Tür gebracht."),
    "reward.bottle.name": ("Insulated bottle", "Thermosflasche"),
    "reward.bottle.text": (
        "Steel, half a litre, hot for twelve hours.",
        "Edelstahl, halber Liter, zwölf Stunden heiß.",
    ),
    "reward.lamp.name": ("Desk lamp “Aurora”", "Schreibtischlampe „Aurora“"),
    "reward.lamp.text": ("Warm light, dimmable, made to be repaired.", "Warmes Licht, dimmbar, reparierbar gebaut."),
    "reward.headphones.name": ("Wireless headphones", "Kabellose Kopfhörer"),
    "reward.headphones.text": ("Thirty hours of music, none of the noise.", "Dreißig Stunden Musik, ganz ohne Lärm."),
    "reward.alps.name": ("A weekend in the Alps", "Ein Wochenende in den Alpen"),
    "reward.alps.text": (
        "Two nights for two, with breakfast and view.",
        "Zwei Nächte zu zweit, mit Frühstück und Aussicht.",
    ),
}


def text(key: str, lang: str, **values: object) -> str:
    """The words for `key` in English ("en") or German ("de")."""
    english, german = TEXTS[key]
    return (german if lang == "de" else english).format(**values)


def number(value: int, lang: str) -> str:
    """1,250 in English, 1.250 in German."""
    grouped = f"{value:,}"
    return grouped.replace(",", ".") if lang == "de" else grouped
